"""Builds the file of statistics of tiles: each tile of an index is read once, and some numbers of it are kept.

Each file becomes a Parquet file in a folder beside the output. A build that is killed leaves this folder, and the next
one takes over what is there, and what an older output has of files that did not change.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rasteret_sql.checks import checked_list, checked_path, checked_unicode, shown, whole_number_of
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.parquet_file import package_version
from rasteret_sql.index.report import Failure, list_failures, reporting
from rasteret_sql.index.staging import leftovers, staging_folder
from rasteret_sql.io.asked import redact
from rasteret_sql.plan.arguments import LEVELS
from rasteret_sql.plan.tiles import Windows
from rasteret_sql.read.by_file import refuse_complex
from rasteret_sql.read.tile_statistics import TileMeasurer
from rasteret_sql.shared_docs import shares_arguments
from rasteret_sql.sql.named_index import shown_index
from rasteret_sql.sql.planning import IndexPlans
from rasteret_sql.sql.readers import planning_cursor, read_arguments
from rasteret_sql.sql.statistics_file import (
    VERSION,
    VERSION_KEY,
    is_current,
    open_statistics,
    statistics_row,
    statistics_schema,
    statistics_table,
)
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rasteret_sql.index.report import FileProgress, Progress
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.read.by_file import DecodedTile
    from rasteret_sql.sql.selected import SelectedFiles

#: Tiles that are planned at a time, and tiles in a row group.
_PLANNED_TILES: Final = 1 << 16
_GROUP_TILES: Final = 1 << 18
_PART: Final = "part_{}.parquet"
_LEVELS: Final = "whole numbers such as [0, 2]: 0 is full resolution, n the nth overview"
#: Names by which DuckDB knows Parquet.
_SUFFIXES: Final = frozenset({".parquet", ".parq"})


@dataclass(frozen=True, slots=True)
class StatsReport:
    """The outcome of `build_stats`.

    Attributes:
        path: the file of statistics.
        rows: its rows, one per file, level and band.
        tiles: tiles and bands of which it has statistics.
        files: levels of files that were read.
        kept: levels of files whose statistics were taken over.
        failures: the files that could not be read; reads fetch their tiles.
        seconds: wall time.
        stats_bytes: size of the file.
    """

    path: Path
    rows: int
    tiles: int
    files: int
    kept: int
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    stats_bytes: int = 0

    def __str__(self) -> str:
        extent = f"{count(self.rows, 'row')} of {count(self.tiles, 'tile')}, {size(self.stats_bytes)}"
        read = f"{count(self.files, 'file')} read, {self.kept:,} taken over, in {self.seconds:.1f} s"
        lines = [f"{self.path}: {extent}; {read}"]
        if self.failures:
            lines += [f"  {count(len(self.failures), 'failure')}:", *list_failures(self.failures)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One level of a file, with its bands, and which of them get a histogram."""

    asset: PlannedAsset
    histogram: frozenset[str]

    @property
    def name(self) -> str:
        """The name of its part."""
        key = f"{self.asset.level} {self.asset.href}"
        return _PART.format(hashlib.sha256(key.encode()).hexdigest()[:32])

    def is_in(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether rows of this level of the file are what a build would write now."""
        known = {row["band"]: row for row in rows}
        return len(rows) == len(self.asset.bands) and all(
            band.band in known
            and is_current(known[band.band], self.asset, band)
            and known[band.band]["band_name"] == band.name
            and (known[band.band]["classes"] is not None) == (band.name in self.histogram)
            for band in self.asset.bands
        )


@dataclass(slots=True)
class _Build:
    """A build in progress.

    Attributes:
        folder: where its parts are.
        progress: is told of each file.
        done: parts that are there, by (href, level).
        failures: of files.
    """

    folder: Path
    progress: FileProgress
    done: dict[tuple[str, int], Path] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def keep(self, wanted: _Wanted, table: pa.Table) -> None:
        """Write the rows of a level of a file; the part appears whole or not at all."""
        path = self.folder / wanted.name
        aside = path.with_suffix(".partial")
        parquet.write_table(table, aside, compression="zstd")
        aside.replace(path)
        self.done[wanted.asset.href, wanted.asset.level] = path
        self.progress.advance(1)


@shares_arguments
def build_stats(
    index: Any,
    output: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    histogram: Sequence[str] | None = None,
    levels: Sequence[int] = (0,),
    progress: Progress | bool = False,
) -> StatsReport:
    """Measure every tile of an index once, and keep the statistics in a Parquet file of some bytes per tile.

    `zonal_stats(statistics=...)` takes whole tiles from the file, and reads only tiles that the boundary of a zone
    crosses. Results do not depend on it. Memory holds some batches of tiles. An interrupted build is continued by the
    next build of the same output. Statistics in an older output are taken over for files that did not change.

    Args:
        output: path of the file; an older file of statistics is replaced once the new one is complete.
        histogram: bands of classes, with at most 256 values, such as ["SCL"]: the file also counts each value in each
            tile, so that median, quantiles, majority, minority and variety need no pixels.
        levels: levels that are measured: 0 is full resolution, n the nth overview.
        progress: True for a progress bar, or a callable that takes (files done, files in all).

    Returns:
        The rows that were written, and the files that could not be read. Tiles of these are read as without statistics.

    Raises:
        InvalidArgumentError: an argument is wrong; or a band with a histogram has more than 256 values, or no integers.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: the index has none of the bands.
        BuildError: no file could be read; nothing was written.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.build_stats("s2.parquet", "s2.stats.parquet", histogram=["SCL"]).tiles  # doctest: +SKIP
        5808
    """
    began_s = time.monotonic()
    path = checked_output(output)
    classes = frozenset(_checked_names("histogram", histogram) or ())
    named = _checked_names("bands", bands)
    if named is not None:
        named += sorted(classes - set(named))
    arguments = read_arguments(named, None, None, None, None, None, None)
    chosen = _checked_levels(levels)
    definition = {"bands": named, "histogram": sorted(classes), "levels": chosen}
    digest = hashlib.sha256(json.dumps([VERSION, definition]).encode()).hexdigest()
    with planning_cursor(index) as cursor:
        plans = IndexPlans(cursor, shown_index(cursor, index, arguments))
        selected = [plans.files(replace(arguments, level=level, door=LEVELS)) for level in chosen]
        wanted = [_wanted(files, classes) for files in selected]
        with (
            staging_folder(path, digest) as folder,
            reporting(progress, sum(map(len, wanted)), "statistics") as files_done,
        ):
            build = _Build(folder, files_done)
            _take_over(build, [each for level in wanted for each in level.values()], path, digest)
            kept = len(build.done)
            for files, level in zip(selected, wanted, strict=True):
                _measure(build, files, level)
            if not build.done:
                raise _nothing(path, build.failures)
            written = folder / "statistics.parquet"
            rows, tiles = _write(build, written, definition)
            stats_bytes = written.stat().st_size
            written.replace(path)
    return StatsReport(
        path,
        rows,
        tiles,
        len(build.done) - kept,
        kept,
        tuple(build.failures),
        time.monotonic() - began_s,
        stats_bytes,
    )


def checked_output(output: Any, argument: str = "output") -> Path:
    """Check where statistics are to be written.

    Args:
        output: the path.
        argument: its name, for messages.

    Raises:
        InvalidArgumentError: no statistics can be written there.
    """
    path = checked_path(argument, output)
    # Arrow takes no other paths.
    checked_unicode(argument, str(path))
    if path.is_dir():
        raise InvalidArgumentError(
            f"{argument}: got the directory {path}, expected a file; give {path / 'stats.parquet'}"
        )
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidArgumentError(
            f"{argument}: got {path}, expected a name that ends in .parquet, by which reads know the file; give "
            f"{path.with_name(path.name + '.parquet')}"
        )
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"{argument}: the folder {path.parent} does not exist; make it first")
    if path.exists() and path.stat().st_size and _version_of(path) is None:
        raise InvalidArgumentError(
            f"{argument}: {path} is a file and no statistics, expected a new path, or statistics to replace; choose "
            "another path, or remove the file"
        )
    return path


def _version_of(path: Path) -> bytes | None:
    """Give the version of a file of statistics, or None where it is none."""
    try:
        metadata: dict[bytes, bytes] = parquet.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return metadata.get(VERSION_KEY.encode())


def _checked_names(name: str, value: Any) -> list[str] | None:
    names = checked_list(name, value, "names of bands such as ['SCL'], or None")
    if names is not None and not (names and all(isinstance(each, str) for each in names)):
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected names of bands such as ['SCL'], or None")
    return names


def _checked_levels(levels: Any) -> list[int]:
    if isinstance(levels, (str, bytes, dict)) or not hasattr(levels, "__iter__"):
        raise InvalidArgumentError(f"levels: got {shown(levels)}, expected {_LEVELS}")
    numbers = [whole_number_of(level) for level in levels]
    found = sorted({int(number) for number in numbers if number is not None and number >= 0})
    if not found or len(found) != len(set(numbers)):
        raise InvalidArgumentError(f"levels: got {shown(levels)}, expected {_LEVELS}")
    return found


def _wanted(files: SelectedFiles, histogram: frozenset[str]) -> dict[int, _Wanted]:
    """Give the files of a level by their numbers, each file once."""
    refuse_complex(files.assets)
    first: dict[str, int] = {}
    for number, asset in enumerate(files.assets):
        first.setdefault(asset.href, number)
    names = {band.name for asset in files.assets for band in asset.bands}
    unknown = sorted(histogram - names)
    if unknown:
        raise InvalidArgumentError(
            f"histogram: got band {shown(unknown[0])}, expected some of {', '.join(sorted(names))}"
        )
    return {number: _Wanted(files.assets[number], histogram) for number in first.values()}


def _take_over(build: _Build, wanted: Sequence[_Wanted], path: Path, digest: str) -> None:
    """Take over the parts of killed builds, then what an older output has, of files that did not change."""
    by_name = {each.name: each for each in wanted}
    for folder in leftovers(path, digest):
        for part in sorted(folder.glob(_PART.format("*"))):
            each = by_name.get(part.name)
            if each is not None:
                # It may be a part of another version.
                with suppress(OSError, pa.ArrowInvalid):
                    _take_rows(build, {(each.asset.href, each.asset.level): each}, part)
    if path.exists() and path.stat().st_size and _version_of(path) == VERSION.encode():
        _take_rows(build, {(each.asset.href, each.asset.level): each for each in wanted}, path)


def _take_rows(build: _Build, wanted: Mapping[tuple[str, int], _Wanted], path: Path) -> None:
    """Take over the rows of a file of statistics, in which those of a level of a file are side by side."""
    with parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number).cast(statistics_schema())
            rows = table.drop_columns(["valid_count", "integers", "floats", "class_counts"]).to_pylist()
            keys = [(row["href"], row["level"]) for row in rows]
            for key in dict.fromkeys(keys):
                mine = [place for place, other in enumerate(keys) if other == key]
                each = wanted.get(key)
                if each is not None and key not in build.done and each.is_in([rows[place] for place in mine]):
                    build.keep(each, table.take(mine))


def _measure(build: _Build, files: SelectedFiles, wanted: Mapping[int, _Wanted]) -> None:
    """Read the tiles of the files of a level that are not done."""
    numbers = [number for number, each in wanted.items() if (each.asset.href, each.asset.level) not in build.done]
    for some in _batches(numbers, wanted):
        bands = [(number, band) for number in some for band in files.assets[number].bands]
        asset_no = np.array([number for number, _ in bands], np.int64)
        sizes = [(0, 0, files.assets[number].height, files.assets[number].width) for number, _ in bands]
        windows = Windows.of(files.assets, asset_no, [band for _, band in bands], np.array(sizes, np.int64))
        read = files.tiles(windows)
        for (place,), tiles in read.by_group(on_error="null"):
            _measure_file(build, wanted[some[place]], read.plan, tiles)


def _batches(numbers: Sequence[int], wanted: Mapping[int, _Wanted]) -> Iterator[list[int]]:
    """Give the numbers of files in batches of about so many tiles."""
    batch: list[int] = []
    tiles = 0
    for number in numbers:
        batch.append(number)
        tiles += wanted[number].asset.tile_count * len(wanted[number].asset.bands)
        if tiles >= _PLANNED_TILES:
            yield batch
            batch, tiles = [], 0
    if batch:
        yield batch


def _measure_file(build: _Build, wanted: _Wanted, plan: TilePlan, tiles: Iterator[DecodedTile]) -> None:
    """Measure the tiles of a file; one that cannot be read is a failure of the file."""
    asset = wanted.asset
    measurers = {
        band.band: TileMeasurer(asset, band, asset.tile_count, band.name in wanted.histogram) for band in asset.bands
    }
    error = None
    for tile in tiles:
        error = error or tile.error
        if error is None:
            number = int(plan.tile_row[tile.row]) * asset.tiles_across + int(plan.tile_col[tile.row])
            measurers[int(plan.band[tile.row])].add(number, tile)
    if error is not None:
        failure = Failure(redact(asset.href), asset.item_id, asset.asset, type(error).__name__, str(error))
        build.failures.append(failure)
        build.progress.advance(1)
        return
    rows = [statistics_row(asset, band, measurers[band.band].result()) for band in asset.bands]
    build.keep(wanted, statistics_table(rows))


def _write(build: _Build, path: Path, definition: Mapping[str, Any]) -> tuple[int, int]:
    """Join the parts, by href and level; gives the numbers of rows and of tiles."""
    rows = tiles = waiting = 0
    group: list[pa.Table] = []
    with open_statistics(path) as writer:
        for _, part in sorted(build.done.items()):
            table = parquet.read_table(part).cast(statistics_schema())
            number = len(pc.list_flatten(table.column("valid_count")))
            rows, tiles, waiting = rows + len(table), tiles + number, waiting + number
            group.append(table)
            if waiting >= _GROUP_TILES:
                writer.write_table(pa.concat_tables(group))
                group, waiting = [], 0
        if group:
            writer.write_table(pa.concat_tables(group))
        writer.add_key_value_metadata(
            {
                VERSION_KEY: VERSION,
                "rasteret_statistics.package": package_version(),
                "rasteret_statistics.definition": json.dumps(definition),
                "rasteret_statistics.built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
    return rows, tiles


def _nothing(path: Path, failures: list[Failure]) -> BuildError:
    return BuildError(
        "\n".join(
            [f"{path}: none of {len(failures)} files could be read; nothing was written.", *list_failures(failures)]
        )
    )
