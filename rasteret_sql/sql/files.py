"""Plans the files of a query with all of their levels, for reads that choose windows later."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.file_table import FILES, LEVELS, FileTable, Kind
from rasteret_sql.plan.tile_plan import PlannedBand, tile_format
from rasteret_sql.sql import planning
from rasteret_sql.sql.properties import AssetProperties, read_properties
from rasteret_sql.tiff.ghost import frames_of

if TYPE_CHECKING:
    import duckdb

    from rasteret_sql.sql.planning import ReadArguments

#: Rows of a batch of Arrow: the lists of a batch hold 2^31 numbers at most.
_FILE_ROWS = 65_536
_LEVEL_ROWS = 4096
_SMALL = 1 << 32


def plan_files(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> tuple[FileTable, AssetProperties]:
    """Write the files that arguments leave to a folder of this process.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked; its level and resolution are None.

    Returns:
        The files, ordered by collection, datetime, item and asset, and what the index says of each.

    Raises:
        InvalidArgumentError: an argument is wrong, or a file has no CRS or transform.
        InvalidIndexError: the index is not one.
        EmptyReadError: nothing is left.
    """
    import duckdb

    name = planning.named_index(cursor, arguments.index)
    try:
        cursor.execute(planning.PLAN_ASSETS, planning.plan_parameters(arguments, name))
        planning.require_found(cursor, arguments, name)
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE planned_kinds AS "
            "SELECT row_number() OVER () - 1 AS kind, cog_layout, formats, bands, alpha_band, "
            "list(asset_no) AS numbers "
            "FROM planned_assets GROUP BY cog_layout, formats, bands, alpha_band"
        )
        properties = read_properties(cursor, name, is_ordered=arguments.is_ordered)
        folder = Path(tempfile.mkdtemp(prefix="rasteret_sql."))
        table = FileTable(folder, _kinds(cursor), is_owner=True)
        _write(_file_rows(cursor, planning.base_of(arguments.index)), folder / FILES)
        _write(_level_rows(cursor), folder / LEVELS)
    except duckdb.Error as error:
        raise planning.explained(cursor, arguments.index, name, error) from error
    return table, properties


def _kinds(cursor: duckdb.DuckDBPyConnection) -> tuple[Kind, ...]:
    rows = cursor.execute("SELECT cog_layout, formats, bands, alpha_band FROM planned_kinds ORDER BY kind").fetchall()
    return tuple(
        Kind(
            frames_of(cog_layout),
            tuple(tile_format(each) for each in formats),
            tuple(PlannedBand(**band) for band in bands),
            alpha_band,
        )
        for cog_layout, formats, bands, alpha_band in rows
    )


def _file_rows(cursor: duckdb.DuckDBPyConnection, base: str | None) -> Any:
    """Give a row per file; hrefs that are relative are led by the folder of the index."""
    import pyarrow as pa

    nowhere = cursor.execute(
        "SELECT asset, item_id FROM planned_assets WHERE crs IS NULL OR transform[1] IS NULL ORDER BY asset_no LIMIT 1"
    ).fetchall()
    if nowhere:
        asset, item_id = nowhere[0]
        raise InvalidArgumentError(
            f'grid: asset "{asset}" of item {item_id} has no CRS or no transform, so it lies nowhere on the ground; '
            "leave it out: give a query WHERE crs IS NOT NULL as the index"
        )
    reader = cursor.sql(
        """
        SELECT
            p.collection, p.item_id, p.asset, epoch_us(p.datetime) AS datetime_us, p.href,
            coalesce(p.mirror, p.href) AS address, p.etag, p.crs,
            p.transform[1] AS x_size, p.transform[3] AS x_off, p.transform[5] AS y_size, p.transform[6] AS y_off,
            p.image.width AS width, p.image.height AS height,
            coalesce(p.reach.start_us, -9223372036854775807) AS start_us,
            coalesce(p.reach.end_us, 9223372036854775807) AS end_us,
            k.kind::INTEGER AS kind,
            (sum(len(p.levels)) OVER (ORDER BY p.asset_no) - len(p.levels))::BIGINT AS first_level,
            len(p.levels)::INTEGER AS level_count
        FROM planned_assets AS p
        JOIN (SELECT kind, unnest(numbers) AS asset_no FROM planned_kinds) AS k USING (asset_no)
        ORDER BY p.asset_no
        """
    ).to_arrow_reader(_FILE_ROWS)
    place = reader.schema.get_field_index("address")

    def resolved() -> Any:
        for batch in reader:
            columns = batch.to_pydict() if not _is_resolved(batch.column("address")) else None
            if columns is None:
                yield batch
                continue
            addresses = [
                planning.resolved(address, base, item_id, asset)
                for address, item_id, asset in zip(
                    columns["address"], columns["item_id"], columns["asset"], strict=True
                )
            ]
            yield batch.set_column(place, "address", pa.array(addresses, batch.schema.field("address").type))

    return pa.RecordBatchReader.from_batches(reader.schema, resolved())


def _is_resolved(addresses: Any) -> bool:
    import pyarrow.compute as pc

    return addresses.null_count == 0 and bool(pc.all(pc.match_substring(addresses, "://")).as_py() is True)


def _level_rows(cursor: duckdb.DuckDBPyConnection) -> Any:
    """Give a row per file and level."""
    ((largest,),) = cursor.execute(
        "SELECT max(list_max(list_transform(levels, lambda each: list_max(each.tile_byte_counts)))) FROM planned_assets"
    ).fetchall()
    counts = "UINTEGER[]" if (largest or 0) < _SMALL else "BIGINT[]"
    return cursor.sql(
        f"""
        SELECT
            l.each.width AS width,
            l.each.height AS height,
            l.each.format AS format,
            l.each.tile_byte_counts::{counts} AS byte_counts,
            l.each.run_offsets AS run_offsets,
            l.each.tile_gaps AS gaps,
            coalesce(l.each.mask.format, 0) AS mask_format,
            coalesce(l.each.mask.tile_byte_counts, [])::BIGINT[] AS mask_byte_counts,
            coalesce(l.each.mask.run_offsets, [])::BIGINT[] AS mask_run_offsets,
            coalesce(l.each.mask.tile_gaps, [])::BIGINT[] AS mask_gaps
        FROM (
            SELECT asset_no, unnest(levels) AS each, generate_subscripts(levels, 1) AS number FROM planned_assets
        ) AS l
        ORDER BY l.asset_no, l.number
        """  # noqa: S608 - constants
    ).to_arrow_reader(_LEVEL_ROWS)


def _write(reader: Any, path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
