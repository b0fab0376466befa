"""The tables behind `shards` and `read_shard`."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_sql.checks import check_choice
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.shards import fetched_bytes
from rasteret_sql.read.stream import PART_ROWS
from rasteret_sql.sql.batches import READ_COLUMNS, tile_batches
from rasteret_sql.sql.chosen_tiles import TileChoice
from rasteret_sql.sql.joined import number_in_text, required
from rasteret_sql.sql.shard_bytes import decode, encode, fetch_shard
from rasteret_sql.sql.shard_plan import checked_count
from rasteret_sql.sql.shards import plan_shards
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, kept_rows, noted, parse_arguments
from rasteret_sql.sql.workarounds import mentions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        with self._planning(settings) as cursor:
            found = plan_shards(cursor, arguments, count, choice=choice)
        return Stream(schema, filtered(_shard_batches(found, needed), condition, schema, call.token))


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
        with self._planning(values["settings"]):
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
