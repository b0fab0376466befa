"""Shards as bytes: the columns of a plan as Arrow, with a header in JSON. Nothing in them is code.

Layout: `MAGIC`; the size of the rest once it is decompressed (uint64) and its CRC-32 (uint32), both little-endian; one
Zstandard frame of four Arrow streams: files, tiles, mask tiles and chips. The metadata of the first stream hold the
header. A tile has its place, its byte count and the gap before it. Everything else follows from its file, so the bytes
of a stranger cannot contradict themselves there. The rest is checked as rows of an index are.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.errors import AccessDeniedError, FetchError, InvalidArgumentError, RasteretError
from rasteret_sql.io import access, loop
from rasteret_sql.io.asked import redact
from rasteret_sql.io.stores import store_for
from rasteret_sql.plan.ragged import spread
from rasteret_sql.sql.shard_files import TEXTS, files_of_table, header_of_files, table_of_files
from rasteret_sql.sql.shard_plan import ShardChips, ShardPlan, plan_of_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.plan.tile_plan import TilePlan

#: Increases when an older reader would misread a shard.
VERSION: Final = 1
MAGIC: Final = b"RSTSHARD"
_PREFIX: Final = struct.Struct("<8sQI")
#: Decompressed bytes of a shard: some ten million tiles. Larger ones are not what anybody cuts a plan into.
MAX_BYTES: Final = 1 << 29
#: Fetched of a shard at first: most are smaller.
_FIRST_BYTES: Final = 1 << 20
_RANGE_OF_MESSAGE: Final = re.compile(r"^bytes \d+-\d+ of ")
_HEADER_KEY: Final = b"rasteret_sql.shard"
_CODEC: Final = "zstd"
#: Higher ones take more time than the plan, and save a twentieth of the bytes.
_LEVEL: Final = 9
_REMEDY: Final = "make it again with rasteret_sql.shards or `rasteret-sql shard`"
#: Columns of numbers of each table after the first one; each has the smallest integers that hold it.
_TILES: Final = ("file", "band", "tile_row", "tile_col", "gap", "nbytes")
_MASKS: Final = ("offset", "nbytes")
_CHIPS: Final = ("chip", "row_off", "col_off")
#: What the header has, and of which type each is.
_HEADER: Final[Mapping[str, type | tuple[type, ...]]] = {
    "version": int, "made_by": str, "number": int, "count": int, "plan_hash": str, "origins": list, "kinds": list,
    "crs": list, "chip_size": (list, type(None)),
}  # fmt: skip


def encode(shard: ShardPlan) -> bytes:
    """Write a shard."""
    from rasteret_sql.index.parquet_file import package_version

    plan, chips = shard.plan, shard.chips
    files, kinds, crs = table_of_files(plan.assets)
    header = {
        "version": VERSION,
        "made_by": f"rasteret_sql {package_version()}",
        "number": shard.number,
        "count": shard.count,
        "plan_hash": shard.plan_hash,
        "origins": list(shard.origins),
        "kinds": kinds,
        "crs": crs,
        "chip_size": None if chips is None else list(chips.size),
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    tables = [
        files.replace_schema_metadata({_HEADER_KEY: text}),
        _tile_table(plan),
        _mask_table(plan),
        _chip_table(chips),
    ]
    sink = pa.BufferOutputStream()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    data = sink.getvalue()
    packed: bytes = pa.Codec(_CODEC, compression_level=_LEVEL).compress(data, asbytes=True)
    return _PREFIX.pack(MAGIC, len(data), zlib.crc32(data)) + packed


def decode(data: Any, *, source: str | None = None) -> ShardPlan:
    """Read a shard, whoever wrote it.

    Args:
        data: the bytes.
        source: path or URL that they came from, for messages and for what they may name (`io/access`); None for bytes
            of the caller's own.

    Raises:
        InvalidArgumentError: the bytes are no shard, are damaged, are of another version, or contradict themselves.
        AccessDeniedError: the shard names files that one from there may not name.
    """
    name = "shard" if source is None else f"shard {redact(source)}"
    try:
        return _decoded(data, source)
    except AccessDeniedError as error:
        raise AccessDeniedError(f"{name}: {error}") from error
    except RasteretError as error:
        raise InvalidArgumentError(f"{name}: {error}") from error
    except (MemoryError, OSError, OverflowError, RecursionError, ValueError, pa.ArrowException) as error:
        # What Arrow and JSON say of bytes that are not theirs.
        raise InvalidArgumentError(f"{name}: it cannot be read: {_one_line(error)}; {_REMEDY}") from error


def fetch_shard(href: str) -> ShardPlan:
    """Read the shard of a path or URL.

    Raises:
        FetchError: it cannot be fetched.
        InvalidArgumentError: it is no shard; see `decode`.
        AccessDeniedError: this process may not read it, or it names files that it may not name.
    """
    try:
        data = loop.run(_fetch(href))
    except FetchError as error:
        # Which bytes were asked for says something of an image, and nothing of a shard, which is read as a whole.
        reason = _RANGE_OF_MESSAGE.sub("shard ", str(error))
        raise type(error)(reason.replace("; expected one.", "; expected a file of `rasteret-sql shard`.")) from error
    return decode(data, source=href)


async def _fetch(href: str) -> bytes:
    store = store_for(href)
    first = await store.fetch(href, 0, _FIRST_BYTES)
    if len(first.data) < _FIRST_BYTES or first.file_size == _FIRST_BYTES:
        return first.data
    rest = await store.fetch(href, _FIRST_BYTES, MAX_BYTES, identity=first.identity)
    return first.data + rest.data


def _decoded(data: Any, source: str | None) -> ShardPlan:
    files, tiles, masks, chips = _tables(_payload(data))
    header = _header_of(files)
    _check_columns("files", files, TEXTS)
    assets = files_of_table(files, header_of_files(header))
    origins = tuple(header["origins"])
    _check_named([asset.address for asset in assets], origins if source is None else (*origins, source))
    numbers = [
        _numbers(name, table, columns)
        for name, table, columns in (("tiles", tiles, _TILES), ("masks", masks, _MASKS), ("chips", chips, _CHIPS))
    ]
    plan = plan_of_tables(assets, *numbers[:2])
    listed = None
    if header["chip_size"] is not None:
        item_ids = tuple(chips.column("item_id").to_pylist())
        offsets = np.stack([numbers[2]["row_off"], numbers[2]["col_off"]], axis=1)
        listed = ShardChips(numbers[2]["chip"], item_ids, offsets, _size_of(header["chip_size"]))
        listed.check(plan)
    return ShardPlan(header["number"], header["count"], header["plan_hash"], origins, plan, listed)


def _payload(data: Any) -> pa.Buffer:
    """Decompress the bytes of a shard, and compare them with what its prefix says."""
    try:
        view = memoryview(data).cast("B")
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"got {type(data).__name__}, expected bytes of a shard; {_REMEDY}") from error
    if len(view) < _PREFIX.size or bytes(view[: len(MAGIC)]) != MAGIC:
        raise InvalidArgumentError(
            f"got {len(view)} bytes that begin with {bytes(view[: len(MAGIC)])!r}, expected those of a shard, which "
            f"begin with {MAGIC!r}; {_REMEDY}"
        )
    _, size, checksum = _PREFIX.unpack_from(view)
    if size > MAX_BYTES:
        raise InvalidArgumentError(f"it claims {size} bytes, expected {MAX_BYTES} at most; cut the plan in more shards")
    try:
        payload = pa.Codec(_CODEC).decompress(pa.py_buffer(view[_PREFIX.size :]), size)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidArgumentError(f"it is truncated or damaged: {_one_line(error)}; copy it again") from error
    if zlib.crc32(payload) != checksum:
        raise InvalidArgumentError("it is damaged: got another checksum than it has in its prefix; copy it again")
    return payload


def _tables(payload: pa.Buffer) -> list[pa.Table]:
    """Read the Arrow streams."""
    reader = pa.BufferReader(payload)
    tables = []
    for number in range(4):
        batches = []
        messages = pa.ipc.MessageReader.open_stream(reader)
        first = _next(messages)
        if first is None:
            raise InvalidArgumentError(f"got {number} Arrow streams, expected 4; {_REMEDY}")
        schema = pa.ipc.read_schema(first)
        while (message := _next(messages)) is not None:
            _check_message(message)
            batches.append(pa.ipc.read_record_batch(message, schema))
        table = pa.Table.from_batches(batches, schema)
        table.validate(full=True)
        tables.append(table)
    return tables


def _next(messages: Any) -> Any:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _check_message(message: Any) -> None:
    """Refuse buffers that Arrow would decompress: what they take is not bounded by the bytes of the shard.

    The metadata are a FlatBuffer: a Message, whose field 2 is a RecordBatch, whose field 3 is the compression.
    """
    metadata = message.metadata.to_pybytes()
    try:
        (root,) = struct.unpack_from("<I", metadata, 0)
        batch = _field(metadata, root, 2)
        if message.type != "record batch" or batch is None:
            raise InvalidArgumentError(
                f"got an Arrow message of type {message.type}, expected a record batch; {_REMEDY}"
            )
        (offset,) = struct.unpack_from("<I", metadata, batch)
        if _field(metadata, batch + offset, 3) is not None:
            raise InvalidArgumentError(
                f"got Arrow buffers that are compressed once more, expected plain ones; {_REMEDY}"
            )
    except struct.error as error:
        raise InvalidArgumentError(f"got a broken Arrow message, expected a record batch; {_REMEDY}") from error


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Give the place of a field of a FlatBuffer's table, or None where the table does not have it."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (nbytes,) = struct.unpack_from("<H", metadata, table - back)
    entry = 4 + 2 * number
    if entry + 2 > nbytes:
        return None
    (offset,) = struct.unpack_from("<H", metadata, table - back + entry)
    return table + offset if offset else None


def _header_of(files: pa.Table) -> dict[str, Any]:
    text = (files.schema.metadata or {}).get(_HEADER_KEY)
    header = None if text is None else json.loads(text)
    if not isinstance(header, dict):
        raise InvalidArgumentError(f"it has no header, expected a JSON object; {_REMEDY}")
    if type(header.get("version")) is not int or header["version"] != VERSION:
        made_by = header.get("made_by")
        raise InvalidArgumentError(
            f"got version {header.get('version')!r:.60}, made by {made_by!r:.60}, expected {VERSION}; {_REMEDY}, or "
            "read it with the release that made it"
        )
    for name, kinds in _HEADER.items():
        value = header.get(name)
        if name not in header or not isinstance(value, kinds) or isinstance(value, bool):
            listed = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise InvalidArgumentError(f"header: {name} is {value!r:.60}, expected {listed}; {_REMEDY}")
    if not all(isinstance(url, str) for url in header["origins"]):
        raise InvalidArgumentError(f"header: origins are {header['origins']!r:.60}, expected URLs; {_REMEDY}")
    if not 0 <= header["number"] < header["count"]:
        raise InvalidArgumentError(f"header: number {header['number']} of {header['count']}, expected less; {_REMEDY}")
    return header


def _size_of(sides: list[Any]) -> tuple[int, int]:
    if len(sides) != 2 or any(type(side) is not int for side in sides):
        raise InvalidArgumentError(f"header: chip_size is {sides!r:.60}, expected [height, width]; {_REMEDY}")
    return sides[0], sides[1]


def _check_named(addresses: list[str], origins: tuple[str, ...]) -> None:
    for address in dict.fromkeys(addresses):
        access.check_named(address, origins, resolve=True)


def _check_columns(name: str, table: pa.Table, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise InvalidArgumentError(f"{name}: got no column {', '.join(missing)}; {_REMEDY}")


def _numbers(name: str, table: pa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    """Give columns of whole numbers as int64."""
    _check_columns(name, table, columns if name != "chips" else (*columns, "item_id"))
    found = {}
    for column in columns:
        values = table.column(column)
        if not pa.types.is_integer(values.type) or values.null_count:
            raise InvalidArgumentError(
                f"{name}: {column} holds {values.type} with {values.null_count} NULL, expected whole numbers; {_REMEDY}"
            )
        found[column] = values.cast(pa.int64()).to_numpy()
    if name == "chips" and (not pa.types.is_string(table.column("item_id").type) or table.column("item_id").null_count):
        raise InvalidArgumentError(f"chips: item_id holds {table.column('item_id').type}, expected texts; {_REMEDY}")
    return found


def _tile_table(plan: TilePlan) -> pa.Table:
    before = np.concatenate([np.zeros(1, np.int64), (plan.tile_offset + plan.tile_byte_count)[:-1]])[: len(plan)]
    is_first = np.diff(plan.asset_no, prepend=-1) != 0
    gap = plan.tile_offset - np.where(is_first, 0, before)
    columns = plan.asset_no, plan.band, plan.tile_row, plan.tile_col, gap, plan.tile_byte_count
    return pa.table({name: _smallest(column) for name, column in zip(_TILES, columns, strict=True)})


def _mask_table(plan: TilePlan) -> pa.Table:
    masks = plan.mask_tiles.take(spread(plan.mask_first, plan.mask_count))
    return pa.table({"offset": _smallest(masks.offset), "nbytes": _smallest(masks.nbytes)})


def _chip_table(chips: ShardChips | None) -> pa.Table:
    empty = np.empty(0, np.int64)
    numbers, item_ids, row_off, col_off = (
        (empty, (), empty, empty) if chips is None else (chips.numbers, chips.item_ids, *chips.offsets.T)
    )
    columns = {name: _smallest(values) for name, values in zip(_CHIPS, (numbers, row_off, col_off), strict=True)}
    return pa.table(columns | {"item_id": pa.array(item_ids, pa.string())})


def _smallest(values: Any) -> Any:
    """Give whole numbers in the smallest signed integers that hold all of them."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fitting = (
        kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low <= high <= np.iinfo(kind).max
    )
    return pa.array(values.astype(next(fitting, np.int64)))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
