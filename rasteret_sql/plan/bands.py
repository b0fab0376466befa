"""Which bands of which files labels name; the same rule as `sql/macros/_rst_asset_plan.sql`. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import formula_remedy
from rasteret_sql.plan.tile_plan import PlannedBand
from rasteret_sql.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

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

    @property
    def is_unnamed(self) -> bool:
        """Whether it has no name; an index calls such a band by its number."""
        return self.name in {None, "", str(self.band)}


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


def choose_bands(
    files: Sequence[FileBands],
    labels: Sequence[str] | None,
    items_of: Callable[[Collection[int]], Collection[str | None]],
) -> list[tuple[PlannedBand, ...]]:
    """Choose the bands that are read of files.

    A label is an asset, "asset:band", or the name, common name or number of a band; the first of these that any file
    of a collection has counts for all of them.

    Args:
        files: all files that area and period leave, each kind once.
        labels: what is wanted; None for all bands.
        items_of: gives the ids of the items that have files of some kinds, by positions in `files`.

    Returns:
        For each of `files` its bands, by the position of their labels and by number; none where none is wanted.

    Raises:
        InvalidArgumentError: a label fits several bands, or none; it passes items over that have another asset of that
            name; or two labels name one band.
    """
    files = with_names_of_siblings(files)
    if labels is None:
        return [
            tuple(_planned(band, each.full_name(band), 1) for band in sorted(each.bands, key=lambda band: band.band))
            for each in files
        ]
    matches = _matches(files, labels)
    best = {key: _best(found) for key, found in matches.items()}
    _check_doubts(files, best)
    _check_unknown(files, labels, {label for _, label in best})
    read = {(match.file, match.band.band) for found in best.values() for match in found}
    for (collection, label), found in matches.items():
        unread = [match for match in found if (match.file, match.band.band) not in read]
        _check_passed_over(files, label, best[collection, label], unread, items_of)
    return [_chosen(files, number, labels, best) for number in range(len(files))]


def with_names_of_siblings(files: Sequence[FileBands]) -> list[FileBands]:
    """Give bands without a name the one that other files of the same asset, with as many bands, have for their number.

    Some writers leave band descriptions out. Only where those that describe band n agree, and the file itself has no
    other band of that name.
    """
    known: dict[tuple[str | None, str, int, int], set[str]] = defaultdict(set)
    for each in files:
        for band in each.bands:
            if not band.is_unnamed:
                known[each.collection, each.asset, len(each.bands), band.band].add(str(band.name))

    def name_of(each: FileBands, band: IndexBand) -> str | None:
        names = known[each.collection, each.asset, len(each.bands), band.band]
        if not band.is_unnamed or len(names) != 1 or names & {other.name for other in each.bands}:
            return band.name
        return next(iter(names))

    return [
        replace(each, bands=tuple(replace(band, name=name_of(each, band)) for band in each.bands)) for each in files
    ]


def _planned(band: IndexBand, name: str, position: int) -> PlannedBand:
    return PlannedBand(band.band, name, position, band.nodata, band.scale, band.offset, band.unit)


@dataclass(frozen=True, slots=True)
class _Match:
    """A band that a label fits.

    Attributes:
        file: position of its file.
        band: the band.
        tier: how well the label fits; 1 is best.
    """

    file: int
    band: IndexBand
    tier: int


_Matches = dict[tuple[str | None, str], list[_Match]]


def _matches(files: Sequence[FileBands], labels: Sequence[str]) -> _Matches:
    """Give the bands that labels fit, by collection and label."""
    found: _Matches = defaultdict(list)
    for number, each in enumerate(files):
        known = each.labels()
        for label in labels:
            found[each.collection, label] += [_Match(number, band, tier) for tier, band in known.get(label, ())]
    return {key: matches for key, matches in found.items() if matches}


def _best(matches: Sequence[_Match]) -> list[_Match]:
    tier = min(match.tier for match in matches)
    return [match for match in matches if match.tier == tier]


def _chosen(files: Sequence[FileBands], number: int, labels: Sequence[str], best: _Matches) -> tuple[PlannedBand, ...]:
    """Give the bands of one file; each goes by the first label that names it.

    Raises:
        InvalidArgumentError: a further label names a band too, and is not its name.
    """
    each = files[number]
    chosen: dict[int, PlannedBand] = {}
    for position, label in enumerate(labels, 1):
        for match in best.get((each.collection, label), ()):
            if match.file != number:
                continue
            is_whole = match.tier == _WHOLE_ASSET
            name = each.full_name(match.band) if is_whole else label
            before = chosen.setdefault(match.band.band, _planned(match.band, name, position))
            if not is_whole and before.name != label:
                raise InvalidArgumentError(
                    f"bands: got '{labels[before.position - 1]}' and '{label}', which both name band {match.band.band} "
                    f"of asset '{each.asset}'; expected each band once: leave one of them out"
                )
    return tuple(sorted(chosen.values(), key=lambda planned: (planned.position, planned.band)))


def _check_doubts(files: Sequence[FileBands], best: _Matches) -> None:
    """Refuse labels that fit several assets, or several bands of one file.

    Raises:
        InvalidArgumentError: there is one.
    """
    for (_, label), found in best.items():
        if found[0].tier == _WHOLE_ASSET:
            continue
        counts = Counter(match.file for match in found)
        if len({files[match.file].asset for match in found}) == 1 and max(counts.values()) == 1:
            continue
        named = set()
        for match in found:
            each = files[match.file]
            named.add(f"'{each.asset}:{each.unique_name(match.band) or match.band.band}'")
        raise InvalidArgumentError(
            f"bands: got '{label}', which fits {', '.join(sorted(named))}; expected one of them: name it in full"
        )


def _check_passed_over(
    files: Sequence[FileBands],
    label: str,
    best: Sequence[_Match],
    unread: Sequence[_Match],
    items_of: Callable[[Collection[int]], Collection[str | None]],
) -> None:
    """Refuse a label that would pass items over: it fits their assets too, but those of other items better.

    An asset key that is new in a collection, such as "red", would hide all older items, whose asset "B04" has the
    common name. A composite such as "visual" with a band called red stands beside an asset "red", and has other bands:
    an item that lacks the asset is not meant.

    Args:
        files: all files.
        label: what is asked for.
        best: the bands that it fits best.
        unread: those that it fits too, and that no label reads.
        items_of: as for `choose_bands`.

    Raises:
        InvalidArgumentError: it would.
    """
    taken = {files[match.file].asset for match in best}
    counts = {len(files[match.file].bands) for match in best}
    rivals = [
        match for match in unread if files[match.file].asset not in taken and len(files[match.file].bands) in counts
    ]
    if not rivals:
        return
    passed = set(items_of({match.file for match in rivals})) - set(items_of({match.file for match in best}))
    if passed:
        others = {files[match.file].asset for match in rivals}
        raise InvalidArgumentError(
            f"bands: got '{label}', which names asset {_quoted(taken)} in some items and asset {_quoted(others)} in "
            f"others; expected one meaning for all: give both, {_quoted(taken | others)}, or leave out the items of one"
        )


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


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
    known_names = dict.fromkeys(name for each in files for name in each.labels() if not _NUMBER.fullmatch(name))
    bands = f" or of the bands {', '.join(names)}" if names else ""
    raise InvalidArgumentError(
        f"bands: got '{unknown[0]}', expected one of the assets {assets}{bands}, which the area and the period leave"
        + formula_remedy(unknown[0])
        + did_you_mean(unknown[0], known_names)
    )
