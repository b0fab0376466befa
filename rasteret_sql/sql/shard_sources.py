"""The tables behind `shards` and `read_shard`."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_sql.checks import check_choice, number_in_text
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.shards import fetched_bytes
from rasteret_sql.read.stream import PART_ROWS
from rasteret_sql.sql.batches import READ_COLUMNS, tile_batches
from rasteret_sql.sql.chosen_tiles import TileChoice
from rasteret_sql.sql.joined import required
from rasteret_sql.sql.shard_bytes import decode, encode, fetch_shard
from rasteret_sql.sql.shard_chips import chips_of, sql_batches
from rasteret_sql.sql.shard_plan import checked_count
from rasteret_sql.sql.shards import plan_chip_shards, plan_shards, refuse_with_chips
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, kept_rows, noted, parse_arguments
from rasteret_sql.sql.wanted_chips import WantedChips, windows_of
from rasteret_sql.sql.workarounds import mentions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.sql.shard_plan import ShardPlan
    from rasteret_sql.sql.workarounds import Call


class ShardSource(CallSource):
    """The table of all shards of all calls of `shards`."""

    function = "shards"
    read_columns = ()

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        arguments, own, _, settings = parse_arguments(call.arguments)
        number = number_in_text("n", required("n", own["n"], "a number of shards"))
        count = checked_count(int(number) if number.is_integer() else number)
        needed = self._needed(schema, condition)
        choice = TileChoice.of(own["tiles_where"], own["statistics"])
        with self._connections.planning_as(settings) as cursor:
            if own["chips"] is None:
                if own["chip_size"] is not None:
                    raise InvalidArgumentError(f"chip_size: got {own['chip_size']} without chips, expected both")
                found = plan_shards(cursor, arguments, count, choice=choice)
            else:
                found = self._of_chips(cursor, arguments, own, count)
        return Stream(schema, filtered(_shard_batches(found, needed), condition, schema, call.token))

    def _of_chips(
        self, cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, own: Mapping[str, str | None], count: int
    ) -> list[ShardPlan]:
        refuse_with_chips(
            geometry=arguments.geometry, bbox=arguments.bbox, datetime=arguments.datetime,
            resolution=arguments.resolution, statistics=own["statistics"], tiles_where=own["tiles_where"],
        )  # fmt: skip
        size = None if own["chip_size"] is None else json.loads(own["chip_size"])
        size = tuple(size) if isinstance(size, list) else size
        wanted = WantedChips.of(windows_of(cursor, str(own["chips"])), size, arguments.level, size_name="chip_size")
        return plan_chip_shards(cursor, replace(arguments, level=wanted.level), count, wanted)


def _shard_batches(shards: Sequence[ShardPlan], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for shard in shards:
        values = {
            "name": shard.name,
            "number": shard.number,
            "files": len(shard.plan.assets),
            "tiles": len(shard.plan),
            "bytes": fetched_bytes(shard.plan),
            "plan_hash": shard.plan_hash,
        }
        if "shard" in schema.names:
            values["shard"] = encode(shard)
        yield pa.record_batch([pa.array([values[field.name]], field.type) for field in schema], schema=schema)


class ShardTileSource(CallSource):
    """The table of all tiles of all calls of `read_shard`."""

    function = "read_shard"
    read_columns = READ_COLUMNS

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        values = json.loads(call.arguments)
        on_error = values["on_error"]
        check_choice("on_error", on_error, ("raise", "null"))
        with self._connections.planning_as(values["settings"]):
            plan = _shard_of(values["path"], values["base64"]).plan
        is_of_pixels = mentions(condition, self.read_columns)
        parts: Any = iter([plan]) if is_dry_run() else plan.parts(PART_ROWS)
        if condition is not None and not is_of_pixels:
            parts = kept_rows(parts, condition, call.token)
        read = self._schema if is_of_pixels else schema
        if is_dry_run():
            names = set(read.names)
            (whole,) = parts
            return noted(whole, schema, pixels=bool(names & {"pixels", "error"}), mask="mask" in names)
        batches = tile_batches(parts, read, token=call.token, on_error=on_error)
        return Stream(schema, filtered(batches, condition, schema) if is_of_pixels else batches)


class ShardChipSource(CallSource):
    """The table of all chips of all calls of `read_shard_chips`."""

    function = "read_shard_chips"
    read_columns = ("pixels", "mask")

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        values = json.loads(call.arguments)
        needed = self._needed(schema, condition)
        with self._connections.planning_as(values["settings"]):
            shard = _shard_of(values["path"], values["base64"])
        chips_of(shard)
        if is_dry_run():
            is_read = bool(set(needed.names) & set(self.read_columns))
            return noted(shard.plan, schema, pixels=is_read, mask=is_read)
        return Stream(schema, filtered(sql_batches(shard, needed, condition, call), condition, schema, call.token))


def _shard_of(path: str | None, encoded: str | None) -> ShardPlan:
    """Read a shard of a path or URL, or of a BLOB in base64."""
    if path is not None:
        return fetch_shard(path)
    if encoded is None:
        raise InvalidArgumentError("shard: got NULL, expected a BLOB of shards, or the path or URL of one")
    try:
        return decode(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise InvalidArgumentError(f"shard: got no BLOB ({error}), expected one of shards") from error
