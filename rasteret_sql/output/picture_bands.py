"""The bands of a picture: those that a caller named, a formula over some, or those that nobody had to name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.arrays.display import RGB_NAMES
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.bands import FileBands, IndexBand
from rasteret_sql.plan.expressions import Expression, looks_like_expression, parse_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rasteret_sql.plan.select import IndexFiles, Selection
    from rasteret_sql.plan.tile_plan import TilePlan

#: Words in the keys of assets that are pictures of others.
_MINOR: Final = ("thumbnail", "preview", "overview", "browse")
#: TIFF PhotometricInterpretation: RGB and YCbCr.
_COLOR_PHOTOMETRICS: Final = frozenset({2, 6})


def expression_of(bands: Sequence[str] | None, known: Callable[[], Collection[str]]) -> Expression | None:
    """Give the formula that stands in place of bands, or None; a band that is named like a formula is a band.

    Args:
        bands: what is wanted.
        known: gives the labels of the bands that there are.

    Raises:
        InvalidArgumentError: a formula cannot be parsed, or stands beside other bands.
    """
    formulas = [label for label in bands or () if looks_like_expression(label)]
    if not formulas:
        return None
    labels = known()
    formulas = [label for label in formulas if label not in labels]
    if not formulas:
        return None
    if bands is None or len(bands) > 1:
        raise InvalidArgumentError(
            f"bands: got the expression {formulas[0]!r} beside other bands, expected it alone; draw a picture of each"
        )
    return parse_expression(formulas[0])


def labels_of_index(index: IndexFiles) -> set[str]:
    """Give every label that fits a band of an index."""
    files = index.files
    kinds = set(zip(files.texts("asset"), files.column("kind").tolist(), strict=True))
    return {label for asset, kind in kinds for label in FileBands(None, str(asset), index.bands[kind]).labels()}


def check_expression(expression: Expression | None, names: Sequence[str]) -> None:
    """Refuse names in a formula that are those of several bands.

    Raises:
        InvalidArgumentError: there is one.
    """
    if expression is not None and list(expression.bands) != list(names):
        unclear = next((band for band in expression.bands if band not in names), expression.bands[0])
        raise InvalidArgumentError(
            f"bands: got {unclear!r} in {expression.text!r}, which is not one band, expected some of "
            f"{', '.join(names)}; put such a name in double quotes"
        )


@dataclass(frozen=True, slots=True)
class KnownAsset:
    """The files of a collection with one asset key and the same bands.

    Attributes:
        collection, asset: the key.
        dtype: of the files.
        photometric: TIFF PhotometricInterpretation, or None.
        bands: in their order.
        count: how many files there are.
    """

    collection: str | None
    asset: str
    dtype: str
    photometric: int | None
    bands: tuple[IndexBand, ...]
    count: int

    @property
    def colors(self) -> list[IndexBand]:
        """The bands without alpha."""
        return [band for band in self.bands if not band.is_alpha]


def known_assets(index: IndexFiles, selection: Selection) -> list[KnownAsset]:
    """Give the assets of a selection, each with the number of its files."""
    files = index.files
    counts: Counter[tuple[Any, ...]] = Counter()
    for number in selection.files.tolist():
        kind = int(files.column("kind")[number])
        counts[files.texts("collection")[number], str(files.texts("asset")[number]), kind] += 1
    found = []
    for (collection, asset, kind), count in sorted(counts.items(), key=lambda each: str(each[0])):
        layout = files.kinds[kind].formats[0]
        found.append(KnownAsset(collection, asset, str(layout.dtype), layout.photometric, index.bands[kind], count))
    return found


def known_of_tiles(plan: TilePlan) -> list[KnownAsset]:
    """Give the assets of rows of tiles, which have no common names and no photometric interpretation."""
    known: dict[tuple[str | None, str], tuple[str, dict[int, IndexBand]]] = {}
    for asset in plan.assets:
        _, bands = known.setdefault((asset.collection, asset.asset), (asset.dtype, {}))
        bands |= {
            band.band: IndexBand(band.band, band.name.rpartition(":")[2], None, None, None, None, None, is_alpha=None)
            for band in asset.bands
        }
    return [
        KnownAsset(collection, asset, dtype, None, tuple(bands.values()), 1)
        for (collection, asset), (dtype, bands) in known.items()
    ]


def labels_of_keys(plan: TilePlan, keys: Sequence[tuple[str, int]]) -> list[str]:
    """Name bands as a read does that names them by asset and number; an asset with one band is named by itself."""
    names = {(asset.asset, band.band): band.name for asset in plan.assets for band in asset.bands}
    return [asset if names.get((asset, band), asset) == asset else f"{asset}:{band}" for asset, band in keys]


def choose_bands(known: Sequence[KnownAsset]) -> list[tuple[str, int]]:
    """Choose one band or three, each by asset and number; of several collections, from that with the most files.

    Red, green and blue by common name, by asset key or by name, each in a file of its own before all in one; then a
    file that is a picture in colour; then the first band of the first asset, pictures of others last.

    Args:
        known: the assets; at least one.
    """
    counts: Counter[str | None] = Counter()
    for each in known:
        counts[each.collection] += each.count
    largest = max(counts.values())
    mine = [each for each in known if counts[each.collection] == largest]
    mine = [each for each in mine if each.collection == mine[0].collection]
    mine.sort(key=lambda each: (any(word in each.asset for word in _MINOR), each.asset, -each.count))
    alone = [each for each in mine if len(each.bands) == 1]
    together = [[each] for each in mine if len(each.bands) > 1]
    for assets in (alone, *together):
        for names in RGB_NAMES:
            found = [_named(assets, name) for name in names]
            if all(key is not None for key in found):
                return [key for key in found if key is not None]
    for (asset,) in together:
        is_picture = asset.photometric in _COLOR_PHOTOMETRICS or (asset.dtype == "uint8" and len(asset.colors) == 3)
        if is_picture and len(asset.colors) >= 3:
            return [(asset.asset, band.band) for band in asset.colors[:3]]
    first = next((each for each in mine if each.colors), mine[0])
    return [(first.asset, first.colors[0].band if first.colors else 1)]


def _named(assets: Sequence[KnownAsset], name: str) -> tuple[str, int] | None:
    """Give the band of a name: an asset key goes before a common name, and that before a name in the file."""
    for asset in assets:
        if asset.asset == name and len(asset.bands) == 1:
            return (asset.asset, asset.colors[0].band) if asset.colors else None
    for field in ("common_name", "name"):
        for asset in assets:
            for band in asset.colors:
                if (getattr(band, field) or "").casefold() == name.casefold():
                    return asset.asset, band.band
    return None
