"""What the reads of a query would cost: it is run with reads that only plan, so that its WHERE counts too."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.output import cost_table
from rasteret_sql.apps.sql import statements_of
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from rasteret_sql.sql.virtual import PlannedScan

_COLUMNS = "read, collection, band, items, files, tiles, requests, request_bytes, pixel_bytes"


def explain_query(con: duckdb.DuckDBPyConnection, text: str) -> str:
    """Give what the reads of a query would fetch, as a table and in words.

    The query is run, but its reads find no rows: nothing of an image is fetched, and conditions in WHERE that reach a
    read count. Searches and headers that it asks for are really asked for, and a LIMIT is not looked at.

    Raises:
        InvalidArgumentError: it is not one SELECT.
        RasteretError: the reads cannot be planned.
    """
    from rasteret_sql.sql.cost import cost_in_words
    from rasteret_sql.sql.virtual import scans_only_planned

    statement = one_select(con, text, ".explain", "; EXPLAIN without the dot shows DuckDB's own plan of any statement")
    with scans_only_planned() as scans:
        con.execute(statement)
        while con.fetchmany():
            pass
    if not scans:
        return "The query reads no tiles.\n"
    rows = [row for number, scan in enumerate(scans, 1) for row in _rows(number, scan)]
    total = _row(None, None, "total", scans, [None] * len(scans))
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in [*rows, total])
    table = con.sql(f"FROM (VALUES {values}) AS cost({_COLUMNS})")
    if len(scans) == 1:
        table = table.project("* EXCLUDE (read)")
    return f"{cost_table(con, table)}{cost_in_words(total[3], *total[5:])}\n{_saved(scans)}"


def _saved(scans: Sequence[PlannedScan]) -> str:
    """Say what statistics of tiles save, as a line; nothing where they save nothing."""
    known = [scan.known for scan in scans if scan.known is not None]
    tiles, nbytes = sum(map(len, known)), sum(int(plan.tile_byte_count.sum()) for plan in known)
    return f"From statistics: {count(tiles, 'tile')}, {size(nbytes)} that are not fetched\n" if tiles else ""


def one_select(con: duckdb.DuckDBPyConnection, text: str, command: str, remedy: str = "") -> duckdb.Statement:
    """Give the one SELECT that a text is.

    Raises:
        InvalidArgumentError: it is something else.
    """
    statements = statements_of(con, text)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise InvalidArgumentError(
            f"{command}: got {', '.join(kinds) or 'nothing'}, expected the name of an index or one SELECT{remedy}"
        )
    return statements[0]


def _rows(number: int, scan: PlannedScan) -> list[tuple[Any, ...]]:
    """Give one row for each collection and band of a scan, in the order of the collections."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    plan = scan.plan
    names = [{band.band: band.name for band in asset.bands} for asset in plan.assets]
    for row, (asset_no, band) in enumerate(zip(plan.asset_no.tolist(), plan.band.tolist(), strict=True)):
        members[plan.assets[asset_no].collection or "", names[asset_no].get(band, str(band))].append(row)
    return [
        _row(number, collection or None, band, [scan], [rows]) for (collection, band), rows in sorted(members.items())
    ]


def _row(
    number: int | None,
    collection: str | None,
    band: str,
    scans: Sequence[PlannedScan],
    members: Sequence[Sequence[int] | None],
) -> tuple[Any, ...]:
    """Count what some rows of some scans would fetch; None stands for all rows of one."""
    import numpy as np

    from rasteret_sql.plan.requests import plan_requests

    items: set[tuple[str | None, str]] = set()
    files: set[str] = set()
    tiles = requests = request_bytes = pixel_bytes = 0
    for scan, rows in zip(scans, members, strict=True):
        plan = scan.plan if rows is None else scan.plan.take(np.array(rows, np.int64))
        assets = [plan.assets[asset_no] for asset_no in np.unique(plan.asset_no).tolist()]
        items.update((asset.collection, asset.item_id) for asset in assets)
        files.update(asset.address for asset in assets)
        planned = plan_requests(plan, pixels=scan.pixels, mask=scan.mask)
        tiles += len(plan)
        requests += len(planned)
        request_bytes += sum(request.nbytes for request in planned)
        if scan.pixels:
            sample_bytes = np.array([np.dtype(asset.dtype).itemsize for asset in plan.assets], np.int64)
            pixel_bytes += int((plan.width.astype(np.int64) * plan.height * sample_bytes[plan.asset_no]).sum())
    return number, collection, band, len(items), len(files), tiles, requests, request_bytes, pixel_bytes


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return quote_literal(value) if isinstance(value, str) else str(value)
