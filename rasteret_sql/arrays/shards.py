"""Shards: pieces of the plan of a read, as values that go anywhere and are read anywhere."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import check_choice, checked_list, shown, whole_number_of, without_crs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.plan.shards import fetched_bytes
from rasteret_sql.shared_docs import shares_arguments
from rasteret_sql.sql.wanted_chips import WantedChips
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from rasteret_sql.arrays.numpy import ChipArray
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.shard_plan import ShardPlan


#: Fetched by a piece, where a caller does not say how many there are.
_PIECE_BYTES: Final = 64 << 20
_MIN_PIECES: Final = 8


class Shard:
    """One piece of a read: which bytes of which files make which tiles, and how they are decoded.

    It needs neither the index nor DuckDB. It is pickled as the bytes of `to_bytes`. Secrets are never inside: requests
    are signed by whoever reads it.

    Attributes:
        number: from 0.
        shard_count: of all shards.
        name: the number with leading zeros, the name of its file.
        plan_hash: hash of the plan of all shards: the files, their versions and the tiles, as the index gave them.
        file_count: bands and levels of files.
        tile_count: tiles, one per band.
        nbytes: bytes of the tiles in the files, each once.
    """

    __slots__ = ("_plan",)

    def __init__(self, plan: ShardPlan) -> None:
        self._plan = plan

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str | os.PathLike[str] | None = None) -> Shard:
        """Read a shard, whoever wrote it. It is checked as a whole, and nothing in it is run.

        Args:
            data: what `to_bytes` gave.
            source: path or URL that the bytes came from. What came over the network may name public addresses and its
                own server only; the option `allow` opens more. By default, the bytes are trusted as arguments are.

        Raises:
            InvalidArgumentError: the bytes are no shard, are damaged or of another version, or contradict themselves.
            AccessDeniedError: a shard from there may not name one of its files.
        """
        from rasteret_sql.checks import checked_path
        from rasteret_sql.sql.shard_bytes import decode

        if source is not None and not isinstance(source, str):
            source = str(checked_path("source", source))
        return cls(decode(data, source=source))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Shard:
        """Read the shard of a file of `rasteret-sql shard`.

        Args:
            path: path or URL.

        Raises:
            FetchError: it cannot be fetched.
            InvalidArgumentError, AccessDeniedError: as for `from_bytes`.
        """
        from rasteret_sql.checks import checked_path
        from rasteret_sql.sql.shard_bytes import fetch_shard

        # Stores tell a path from a URL.
        checked_path("path", path)
        return cls(fetch_shard(os.fspath(path)))

    def to_bytes(self) -> bytes:
        """Write it: Arrow and JSON in Zstandard, a few bytes per tile."""
        from rasteret_sql.sql.shard_bytes import encode

        return encode(self._plan)

    def __reduce__(self) -> tuple[Callable[[bytes], Shard], tuple[bytes]]:
        """Pickle its bytes."""
        return Shard.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        """Describe it in one line."""
        number, of = self.number, self.shard_count
        return f"<Shard {number} of {of}: {count(self.tile_count, 'tile')}, {size(self.nbytes)}>"

    @property
    def number(self) -> int:
        """Its number, from 0."""
        return self._plan.number

    @property
    def shard_count(self) -> int:
        """The number of all shards."""
        return self._plan.count

    @property
    def name(self) -> str:
        """The number with leading zeros: the same for the same plan."""
        return self._plan.name

    @property
    def plan_hash(self) -> str:
        """Hash of the plan of all shards."""
        return self._plan.plan_hash

    @property
    def file_count(self) -> int:
        """The number of files, once for each asset and level."""
        return len(self._plan.plan.assets)

    @property
    def tile_count(self) -> int:
        """The number of rows of `read_tiles`."""
        return len(self._plan.plan)

    @property
    def nbytes(self) -> int:
        """The bytes of its tiles in the files."""
        return fetched_bytes(self._plan.plan)

    @property
    def decoded_nbytes(self) -> int:
        """The bytes of its pixels and masks in memory."""
        return sum(self.decoded_nbytes_by_column().values())

    def decoded_nbytes_by_column(self) -> dict[str, int]:
        """Give the bytes of the columns `pixels` and `mask` of its tiles."""
        from rasteret_sql.sql.shard_plan import decoded_bytes

        return decoded_bytes(self._plan.plan)

    def chip_nbytes(self) -> dict[str, int]:
        """Give the bytes of `pixels` and `mask`, the data and mask of `chips()`; nothing is read.

        Raises:
            InvalidArgumentError: the shard is one of tiles.
        """
        from rasteret_sql.sql.shard_chips import planned_chips

        layout, _ = planned_chips(self._plan)
        pixels = math.prod(layout.shape)
        return {"pixels": pixels * layout.dtype.itemsize, "mask": pixels}

    def read_tiles(
        self, *, columns: Sequence[str] | None = None, limit: int | None = None, on_error: OnError = "raise"
    ) -> pa.RecordBatchReader:
        """Stream its tiles.

        Args:
            columns: names of the columns of `read_tiles`, in this order; None for all. Without `pixels`, `mask` and
                `error` nothing is fetched.
            limit: the number of rows at most; None for all.
            on_error: "raise", or "null" for rows without pixels whose `error` says why.

        Returns:
            A reader of record batches, in the order of `rasteret_sql.read_tiles`. Nothing is fetched before the first
            batch is requested.

        Raises:
            InvalidArgumentError: an argument is wrong.
            RasteretError: while reading: bytes could not be fetched or decoded.
        """
        import pyarrow as pa

        from rasteret_sql.read.stream import PART_ROWS
        from rasteret_sql.sql.batches import tile_batches

        check_choice("on_error", on_error, ("raise", "null"))
        limit = _checked_limit(limit)
        schema = _chosen(columns)
        plan = self._plan.plan
        if limit is not None and limit < len(plan):
            plan = plan.take(np.arange(limit))
        return pa.RecordBatchReader.from_batches(schema, tile_batches(plan.parts(PART_ROWS), schema, on_error=on_error))

    def chips(self, *, limit: int | None = None) -> ChipArray:
        """Read its chips, each tile once.

        Args:
            limit: the number of chips at most, the first ones; None for all.

        Returns:
            Array (chip, band, y, x) in the order of `chip_table()`, with a mask.

        Raises:
            InvalidArgumentError: the shard is one of tiles, or lacks a tile of a chip; or `limit` is no number.
            RasteretError: bytes could not be fetched or decoded.
        """
        from rasteret_sql.arrays.memory import new_array
        from rasteret_sql.arrays.numpy import ChipArray
        from rasteret_sql.sql.shard_chips import planned_chips

        layout, planned = planned_chips(self._with_limit(limit))
        data, mask = new_array(layout.shape, layout.dtype), new_array(layout.shape, bool)
        layout.read(planned, data, mask)
        bands = layout.bands
        return ChipArray(data, mask, tuple(band.name for band in bands), tuple(band.nodata for band in bands))

    def chip_table(self) -> pa.Table:
        """Give its chips as a table: `chip` (row in the table of all chips), `item_id`, `row_off` and `col_off`.

        Raises:
            InvalidArgumentError: the shard is one of tiles.
        """
        import pyarrow as pa

        from rasteret_sql.sql.shard_chips import chips_of, places_of

        return pa.table(places_of(chips_of(self._plan)))

    def iter_chips(self, *, limit: int | None = None) -> Iterator[tuple[pa.Table, ChipArray]]:
        """Read its chips some at a time, each tile once: about 64 MiB, or an item whose chips share tiles.

        Args:
            limit: the number of chips at most, the first ones; None for all.

        Yields:
            Some rows of `chip_table()`, and their pixels as `chips()` gives them. Chips of one item follow each other,
            so rows may come in another order than in `chip_table()`.

        Raises:
            InvalidArgumentError: the shard is one of tiles, or lacks a tile of a chip; or `limit` is no number.
            RasteretError: bytes could not be fetched or decoded.
        """
        import pyarrow as pa

        from rasteret_sql.arrays.numpy import ChipArray
        from rasteret_sql.sql.shard_chips import places_of, read_parts

        for part in read_parts(self._with_limit(limit)):
            bands = part.layout.bands
            names, nodata = tuple(band.name for band in bands), tuple(band.nodata for band in bands)
            yield pa.table(places_of(part.chips)), ChipArray(part.data, part.mask, names, nodata)

    def read_chips(self, *, columns: Sequence[str] | None = None, limit: int | None = None) -> pa.RecordBatchReader:
        """Stream its chips as rows with tensors of Arrow, some at a time as `iter_chips` does.

        Args:
            columns: some of chip, item_id, row_off, col_off, pixels and mask, in this order; None for all. Without
                `pixels` and `mask` nothing is fetched.
            limit: the number of chips at most, the first ones; None for all.

        Returns:
            A reader of record batches. `pixels` and `mask` are of the type `arrow.fixed_shape_tensor`, shape (band, y,
            x): `column.combine_chunks().to_numpy_ndarray()` gives the array. `mask` is uint8, 1 where a pixel is valid.

        Raises:
            InvalidArgumentError: the shard is one of tiles; an argument is wrong; or the pixels are complex, of which
                Arrow has no tensors.
            RasteretError: while reading: bytes could not be fetched or decoded.
        """
        from rasteret_sql.arrays.chip_rows import chip_reader

        return chip_reader(self, columns, limit)

    def split(self, n: int) -> list[Shard]:
        """Cut it in pieces, as `shards` cuts a read.

        Args:
            n: the number of pieces. There are fewer if there are fewer files, and these are small.

        Raises:
            InvalidArgumentError: `n` is no such number.
        """
        from rasteret_sql.sql.shard_plan import checked_count, split

        return [Shard(piece) for piece in split(self._plan, checked_count(n))]

    def where(self, condition: Any) -> Shard:
        """Give the tiles that meet a condition; with chips, none are left.

        Args:
            condition: a `pyarrow.compute.Expression` over columns of `read_tiles` that need no pixels.

        Raises:
            InvalidArgumentError: the condition cannot be computed.
        """
        import pyarrow as pa

        from rasteret_sql.sql.batches import rows_kept, tile_rows

        plan = self._plan.plan
        try:
            rows = rows_kept(tile_rows(plan), condition)
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InvalidArgumentError(
                f"condition: got {shown(condition)}, expected one over columns of read_tiles but pixels, mask, error "
                f"({reason})"
            ) from error
        kept = plan.take(rows)
        kept = kept.with_assets(np.unique(kept.asset_no))
        return Shard(replace(self._plan, plan=kept, chips=None))

    @property
    def chip_shape(self) -> tuple[int, int, int]:
        """The shape of each chip, (band, y, x).

        Raises:
            InvalidArgumentError: the shard is one of tiles.
        """
        from rasteret_sql.plan.cube import bands_of
        from rasteret_sql.sql.shard_chips import chips_of

        height, width = chips_of(self._plan).size
        return len(bands_of(self._plan.plan.assets)), height, width

    @property
    def chip_dtype(self) -> np.dtype[Any]:
        """The dtype of all chips.

        Raises:
            InvalidArgumentError: the shard is one of tiles.
        """
        from rasteret_sql.sql.shard_chips import chips_of

        chips_of(self._plan)
        return np.dtype(self._plan.plan.assets[0].dtype)

    @property
    def has_chips(self) -> bool:
        """Whether it has chips, rather than tiles alone."""
        return self._plan.chips is not None

    def _with_limit(self, limit: int | None) -> ShardPlan:
        """Give the plan with the first chips alone."""
        number, chips = _checked_limit(limit), self._plan.chips
        return self._plan if number is None or chips is None else replace(self._plan, chips=chips.first(number))


def pieces_of(shard: Shard, count: int | None) -> list[Shard]:
    """Cut a shard for workers: in so many pieces, or by default in one for 64 MiB of the files, and 8 at least."""
    return shard.split(max(shard.nbytes // _PIECE_BYTES, _MIN_PIECES) if count is None else count)


def _checked_limit(limit: Any) -> int | None:
    """Give a limit of rows.

    Raises:
        InvalidArgumentError: it is none.
    """
    number = whole_number_of(limit)
    if limit is not None and (number is None or number < 0):
        raise InvalidArgumentError(f"limit: got {shown(limit)}, expected a number of rows, 0 or more, or None")
    return number


def _chosen(columns: Any) -> pa.Schema:
    """Give some of the columns of `read_tiles`.

    Raises:
        InvalidArgumentError: there is none of a name.
    """
    import pyarrow as pa

    from rasteret_sql.sql.batches import tile_schema

    schema = tile_schema()
    wanted = checked_list("columns", columns, "names of columns of read_tiles")
    if wanted is None:
        return schema
    if not wanted or not all(isinstance(name, str) and name in schema.names for name in wanted):
        raise InvalidArgumentError(f"columns: got {shown(wanted)}, expected some of {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in dict.fromkeys(wanted)])


@without_crs
@shares_arguments
def shards(  # noqa: PLR0913 - those of read_tiles, and those of read_chips
    index: Any,
    n: int,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    statistics: str | os.PathLike[str] | None = None,
    tiles_where: str | None = None,
    chips: Any = None,
    chip_size: int | tuple[int, int] | None = None,
) -> list[Shard]:
    """Plan a read once, and cut the plan into pieces that any process reads.

    Shards have about as many bytes each. They are cut where files end, and inside large files where a request ends, so
    all shards together send as many requests as one read. A file that is larger than a fair share is cut at any tile if
    no request ends near by, for one more request at most. No tile is fetched or decoded twice. The same arguments and
    the same rows of the index give the same shards, so a piece can be read again.

    Args:
        n: the number of shards. There are fewer if there are fewer files, and these are small: no piece of a file has
            less than a request, 4 MiB.
        geometry: GeoJSON (mapping or text), WKT, WKB or an object with `__geo_interface__`, in `geometry_crs`, or None.
            Whole tiles that it touches are read.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        scales, offsets: values of the columns `scale` and `offset`, instead of those of the files, or mappings of bands
            to values, with "*" for all others.
        statistics: path of a file of `build_stats`, or the text of a query of several, for `tiles_where`.
        tiles_where: condition on the statistics of each tile, as for `read_tiles`.
        chips: windows of items, as for `read_chips`. Shards have only the tiles of their chips. Chips that share a tile
            are in one shard, and those of an item too unless its files are large. Area, period and conditions on tiles
            are refused then: the table chooses.
        chip_size: height and width of all chips in pixels; one number for both. By default, `height` and `width` of
            the table.

    Returns:
        The shards, in the order of the read; none where no tiles are left.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: the area touches no asset.

    Example:
        >>> parts = shards("s2.parquet", 64, bands=["red"])  # doctest: +SKIP
        >>> parts[7].read_tiles().read_all()  # doctest: +SKIP
    """
    from rasteret_sql.sql.chosen_tiles import TileChoice
    from rasteret_sql.sql.named_index import shown_index
    from rasteret_sql.sql.readers import planning_cursor, read_arguments
    from rasteret_sql.sql.shard_plan import checked_count
    from rasteret_sql.sql.shards import plan_chip_shards, plan_shards, refuse_with_chips
    from rasteret_sql.sql.statistics_file import checked_statistics

    number = checked_count(n)
    scaling = GivenScaling.of(scales, offsets)
    arguments = read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, resolution, scaling=scaling)
    if chips is None:
        if chip_size is not None:
            raise InvalidArgumentError(f"chip_size: got {shown(chip_size)} without chips, expected both")
        choice = TileChoice.of(tiles_where, checked_statistics(statistics))
        with planning_cursor(index) as cursor:
            found = plan_shards(cursor, shown_index(cursor, index, arguments), number, choice=choice)
        return [Shard(part) for part in found]
    refuse_with_chips(
        geometry=geometry, bbox=bbox, datetime=datetime, resolution=resolution, statistics=statistics,
        tiles_where=tiles_where,
    )  # fmt: skip
    wanted = WantedChips.of(chips, chip_size, level, size_name="chip_size")
    arguments = read_arguments(bands, None, None, geometry_crs, None, wanted.level, None, scaling=scaling)
    with planning_cursor(index) as cursor:
        found = plan_chip_shards(cursor, shown_index(cursor, index, arguments), number, wanted)
    return [Shard(part) for part in found]
