"""Which bands of an index a picture shows when nobody says: natural colours where there are any, else one band."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rasteret_sql.arrays.display import RGB_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Assets that are pictures of others.
_MINOR: Final = ("thumbnail", "preview", "overview", "browse")
#: TIFF PhotometricInterpretation: RGB and YCbCr.
_COLOR_PHOTOMETRICS: Final = frozenset({2, 6})


@dataclass(frozen=True, slots=True)
class KnownBand:
    """One band of a kind of asset.

    Attributes:
        band: 1-based number in the file.
        name, common_name: what the index calls it, or None.
    """

    band: int
    name: str | None
    common_name: str | None


@dataclass(frozen=True, slots=True)
class KnownAsset:
    """The files of a collection with one asset key and the same bands.

    Attributes:
        collection, asset: the key.
        dtype: of the files.
        photometric: how TIFF says their values are meant, or None.
        bands: in their order, without alpha.
        is_single: whether the files have one band, alpha counted.
        count: how many files there are.
    """

    collection: str | None
    asset: str
    dtype: str
    photometric: int | None
    bands: tuple[KnownBand, ...]
    is_single: bool
    count: int

    def label(self, band: KnownBand) -> str:
        """Give what a read calls a band of it."""
        return self.asset if self.is_single else f"{self.asset}:{band.band}"


def choose_bands(known: Sequence[KnownAsset]) -> list[str]:
    """Choose one band or three, as a read calls them; of several collections, by the one with the most files.

    Red, green and blue by common name, by asset key or by name, each in a file of its own before all in one; then a
    file that is a picture in colour; then the first band of the first asset, pictures of others last.

    Args:
        known: what there is; at least one.
    """
    counts: Counter[str | None] = Counter()
    for each in known:
        counts[each.collection] += each.count
    largest = max(counts.values())
    mine = [each for each in known if counts[each.collection] == largest]
    mine = [each for each in mine if each.collection == mine[0].collection]
    mine.sort(key=lambda each: (any(word in each.asset for word in _MINOR), each.asset, -each.count))
    alone = [each for each in mine if each.is_single]
    together = [[each] for each in mine if not each.is_single]
    for assets in (alone, *together):
        for names in RGB_NAMES:
            found = [_named(assets, name) for name in names]
            if all(label is not None for label in found):
                return [label for label in found if label is not None]
    for (asset,) in together:
        is_picture = asset.photometric in _COLOR_PHOTOMETRICS or (asset.dtype == "uint8" and len(asset.bands) == 3)
        if is_picture and len(asset.bands) >= 3:
            return [asset.label(band) for band in asset.bands[:3]]
    first = next((each for each in mine if each.bands), mine[0])
    return [first.label(first.bands[0])] if first.bands else [first.asset]


def _named(assets: Sequence[KnownAsset], name: str) -> str | None:
    """Give the band of a name: an asset key goes before a common name, and that before a name in the file."""
    for asset in assets:
        if asset.asset == name and asset.is_single:
            return asset.label(asset.bands[0]) if asset.bands else None
    for field in ("common_name", "name"):
        for asset in assets:
            for band in asset.bands:
                if (getattr(band, field) or "").casefold() == name.casefold():
                    return asset.label(band)
    return None
