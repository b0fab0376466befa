"""Which bands of which files labels name; the same rule as `sql/macros/_rst_asset_plan.sql`. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.tile_plan import PlannedBand

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER: Final = re.compile("[0-9]+")
#: How well a label fits a band that is the asset itself: best.
_WHOLE_ASSET: Final = 1


@dataclass(frozen=True, slots=True)
class IndexBand:
    """A band as the index has it; `band` is 1-based, `nodata` exact."""

    band: int
    name: str | None
    common_name: str | None
    nodata: float | int | None
    scale: float | None
    offset: float | None
    unit: str | None
    is_alpha: bool | None


@dataclass(frozen=True, slots=True)
class FileBands:
    """The bands of all files of one asset key that have the same ones."""

    collection: str | None
    asset: str
    bands: tuple[IndexBand, ...]

    def unique_name(self, band: IndexBand) -> str | None:
        """Give the name of a band; None where it has none, a file has it twice, or it may be another band's number."""
        names = [each.name for each in self.bands]
        return band.name or None if names.count(band.name) == 1 and not self._is_number(band) else None

    def _is_number(self, band: IndexBand) -> bool:
        """Whether a name is a number, in a file where bands without a name of their own go by their numbers."""
        names = [each.name for each in self.bands]
        has_names = all(names) and len(set(names)) == len(names)
        return not has_names and _NUMBER.fullmatch(band.name or "") is not None

    def full_name(self, band: IndexBand) -> str:
        """Name a band as a result does: by its asset, and by itself where the asset has several."""
        if len(self.bands) == 1:
            return self.asset
        return f"{self.asset}:{self.unique_name(band) or band.band}"

    def labels(self) -> dict[str, list[tuple[int, IndexBand]]]:
        """Give the bands that each label fits, and how well: 1 is best."""
        found: dict[str, list[tuple[int, IndexBand]]] = defaultdict(list)
        for band in self.bands:
            labels = (
                self.asset,
                None if band.name is None or self._is_number(band) else f"{self.asset}:{band.name}",
                f"{self.asset}:{band.band}",
                band.name, band.common_name, str(band.band),
            )  # fmt: skip
            for label in dict.fromkeys(labels):
                if label is not None:
                    found[label].append((labels.index(label) + 1, band))
        return found


def choose_bands(files: Sequence[FileBands], labels: Sequence[str] | None) -> list[tuple[PlannedBand, ...]]:
    """Choose the bands that are read of files.

    A label is an asset, "asset:band", or the name, common name or number of a band; the first of these that any file
    of a collection has counts for all of them.

    Args:
        files: all files that area and period leave, each kind once.
        labels: what is wanted; None for all bands.

    Returns:
        For each of `files` its bands, by the position of their labels and by number; none where none is wanted.

    Raises:
        InvalidArgumentError: a label fits several bands, or none.
    """
    if labels is None:
        return [
            tuple(_planned(band, each.full_name(band), 1) for band in sorted(each.bands, key=lambda band: band.band))
            for each in files
        ]
    best = _best(files, labels)
    _check_doubts(best)
    _check_unknown(files, labels, {label for _, label in best})
    # Files of one asset key may have other bands, or the same in another order: each is found by its number and name.
    chosen: dict[tuple[str | None, str, int, int, str | None], tuple[int, str | None]] = {}
    positions = {label: position for position, label in enumerate(labels, 1)}
    for (collection, label), (tier, matches) in sorted(best.items(), key=lambda item: positions[item[0][1]]):
        for each, band in matches:
            key = collection, each.asset, len(each.bands), band.band, band.name
            chosen.setdefault(key, (positions[label], None if tier == _WHOLE_ASSET else label))
    planned = []
    for each in files:
        bands = []
        for band in each.bands:
            found = chosen.get((each.collection, each.asset, len(each.bands), band.band, band.name))
            if found is not None:
                position, name = found
                bands.append(_planned(band, each.full_name(band) if name is None else name, position))
        planned.append(tuple(sorted(bands, key=lambda planned: (planned.position, planned.band))))
    return planned


def _planned(band: IndexBand, name: str, position: int) -> PlannedBand:
    return PlannedBand(band.band, name, position, band.nodata, band.scale, band.offset, band.unit)


_Best = dict[tuple[str | None, str], tuple[int, list[tuple[FileBands, IndexBand]]]]


def _best(files: Sequence[FileBands], labels: Sequence[str]) -> _Best:
    """Give, by collection and label, how well it fits and the bands that it fits as well."""
    best: _Best = {}
    for each in files:
        known = each.labels()
        for label in labels:
            for tier, band in known.get(label, ()):
                before, found = best.get((each.collection, label), (tier, []))
                if tier < before:
                    before, found = tier, []
                if tier == before:
                    found.append((each, band))
                best[each.collection, label] = before, found
    return best


def _check_doubts(best: _Best) -> None:
    """Refuse labels that fit several assets, or several bands of one file.

    Raises:
        InvalidArgumentError: there is one.
    """
    for (_, label), (tier, found) in best.items():
        if tier == _WHOLE_ASSET:
            continue
        numbers = defaultdict(set)
        for each, band in found:
            numbers[each.asset, len(each.bands), band.name].add(band.band)
        is_repeated = any(len(each) > 1 for each in numbers.values())
        if len({each.asset for each, _ in found}) == 1 and not is_repeated:
            continue
        named = {
            f"'{each.asset}:{band.band}'"
            if band.name is None or len(numbers[each.asset, len(each.bands), band.name]) > 1
            else f"'{each.asset}:{band.name}'"
            for each, band in found
        }
        raise InvalidArgumentError(
            f"bands: got '{label}', which fits {', '.join(sorted(named))}; expected one of them: name it in full"
        )


def _check_unknown(files: Sequence[FileBands], labels: Sequence[str], known: set[str]) -> None:
    """Refuse labels that fit nothing.

    Raises:
        InvalidArgumentError: there is one.
    """
    unknown = [label for label in labels if label not in known]
    if not unknown or not files:
        return
    assets = ", ".join(sorted({f"'{each.asset}'" for each in files})) or "(none)"
    names = sorted(
        {
            f"'{each.asset}:{band.name}'"
            for each in files
            for band in each.bands
            if len(each.bands) > 1 and band.name is not None
        }
    )
    bands = f" or of the bands {', '.join(names)}" if names else ""
    raise InvalidArgumentError(
        f"bands: got '{unknown[0]}', expected one of the assets {assets}{bands}, which the area and the period leave"
    )
