"""How a build ends: the index is written aside, checked, and renamed. It appears whole or not at all.

Different files of one collection, item_id and asset are an error, or the latest of them is taken, or all of them are.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from rasteret_sql.checks import checked_path, is_one_of, shown
from rasteret_sql.database.hrefs import INDEX_SUFFIXES
from rasteret_sql.database.schema import METADATA_PREFIX
from rasteret_sql.database.select_text import nested, require_select
from rasteret_sql.database.sqlfiles import quote_identifier, quote_path, sql_file, sql_folder
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.parquet_file import provenance, write_index
from rasteret_sql.index.partitions import PARTITION_KEY, checked_folder, put_in_place, split_index
from rasteret_sql.index.report import BuildReport, list_failures
from rasteret_sql.index.staging import definition_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from rasteret_sql.index.given_bands import GivenBands
    from rasteret_sql.index.rows import HeaderCounts

OnDuplicate = Literal["error", "latest", "keep"]

REMEDY = (
    "If they are versions of one item, on_duplicate 'latest' takes the one that changed last, and 'keep' takes all. "
    "Otherwise tell them apart: with collection=, with a pattern, or with columns item_id and asset."
)
#: Name of the files that "latest" drops, in reports.
OLDER_VERSIONS = "files of older versions of items"
#: Properties that say when an item changed, best first; STAC has both.
_CHANGED = ("updated", "created")
#: Examples in a message.
EXAMPLES = 5
#: The check of `sql/checks/` whose rows are no fault where duplicates are kept.
_UNIQUE_KEY = "unique_key"


@dataclass(frozen=True, slots=True)
class IndexTarget:
    """The index that a build writes.

    Attributes:
        path: a file, or a folder if it is split.
        definition: how it is built, as its metadata keep it, without secrets.
        partition_by: columns by which it is split into a tree of files.
        checks: further queries of `asset_index` that must give no row, by name.
        on_duplicate: the rule for different files that share a key.
    """

    path: Path
    definition: Mapping[str, Any]
    partition_by: tuple[str, ...] = ()
    checks: Mapping[str, str] = field(default_factory=dict)
    on_duplicate: OnDuplicate = "error"


def checked_target(
    path: str | os.PathLike[str], partition_by: Sequence[str] = (), *, replaces_any_parquet: bool = False
) -> Path:
    """Check the path of the index.

    Args:
        path: a file, or a folder if the index is split.
        partition_by: columns by which it is split.
        replaces_any_parquet: whether a Parquet file that is no index may be replaced, as dbt writes one there first.

    Raises:
        InvalidArgumentError: the index cannot be written there, or would replace a file that is no index.
    """
    target = checked_path("path", path)
    if partition_by:
        checked_folder(target)
    elif target.is_dir():
        raise InvalidArgumentError(
            f"path: got the directory {target}, expected a file; give {target / 'index.parquet'}, or partition_by"
        )
    elif target.is_file() and not _is_replaceable(target, any_parquet=replaces_any_parquet):
        raise InvalidArgumentError(
            f"path: {target} is a file and no index, expected a new path, or an index to replace; choose another path, "
            "or remove the file"
        )
    elif target.suffix.lower() not in INDEX_SUFFIXES and not replaces_any_parquet:
        raise InvalidArgumentError(
            f"path: got {target}, expected a path that ends in {', '.join(INDEX_SUFFIXES)}, by which reads know an "
            f"index; give {target.with_name(f'{target.name}.parquet')}"
        )
    if not target.parent.is_dir():
        raise InvalidArgumentError(f"path: the folder {target.parent} does not exist; make it first")
    if not os.access(target.parent, os.W_OK):
        raise InvalidArgumentError(f"path: the folder {target.parent} cannot be written to; choose another one")
    return target


def _is_replaceable(file: Path, *, any_parquet: bool) -> bool:
    """Whether a file is an index, by the keys in the footer of a Parquet file, or is empty."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        if not size:
            return True
        opened.seek(max(size - 8, 0))
        tail = opened.read()
        if not tail.endswith(b"PAR1") or any_parquet:
            return tail.endswith(b"PAR1")
        length = min(int.from_bytes(tail[:4], "little") + 8, size)
        opened.seek(size - length)
        return METADATA_PREFIX.encode() in opened.read()


def require_given(path: Path, given: GivenBands, asset_keys: Collection[str]) -> None:
    """Refuse values of bands that no file has.

    Raises:
        BuildError: there is one.
    """
    for asset, name in given.named().items():
        if asset not in asset_keys:
            raise BuildError(
                f"{path}: {name}: got band '{asset}', which no item has as a TIFF; expected some of "
                f"{', '.join(sorted(asset_keys))}, or '*' for all others; nothing was written"
            )


def require_rows(path: Path, counts: HeaderCounts) -> None:
    """Refuse to write an index without rows.

    Raises:
        BuildError: no header was read.
    """
    if counts.rows:
        return
    raise BuildError(
        "\n".join(
            [
                f"{path}: none of {len(counts.failures)} files could be read; nothing was written.",
                *list_failures(counts.failures),
            ]
        )
    )


def finish_build(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    target: IndexTarget,
    *,
    counts: HeaderCounts,
    left_out: Mapping[str, int],
    began_s: float,
) -> BuildReport:
    """Write the rows that `sql/index/build_index.sql` gives, check them, and put the file in its place.

    Args:
        con: connection with the views that the query reads.
        folder: the staging folder.
        target: the index.
        counts: of the headers that were read, with all failures of the build.
        left_out: numbers of assets that are not in the index, by the reason.
        began_s: when the build began, as `time.monotonic` has it.

    Raises:
        BuildError: a check gives rows; nothing was written.
    """
    con.execute(f"CREATE OR REPLACE TABLE positions AS {sql_file('index/positions.sql')}")
    con.execute(f"CREATE OR REPLACE VIEW asset_index AS {sql_file('index/build_index.sql')}")
    digest = definition_digest(target.definition)
    written = folder / "index.parquet"
    metadata = provenance(target.definition, digest, counts.failures, seconds=time.monotonic() - began_s)
    if target.partition_by:
        metadata[PARTITION_KEY] = json.dumps(list(target.partition_by))
    write_index(con, written, metadata)
    con.execute(f"CREATE OR REPLACE VIEW asset_index AS FROM read_parquet({quote_path(written)})")
    for name, query in (_checks_of_every_index() | dict(target.checks)).items():
        if name != _UNIQUE_KEY or target.on_duplicate != "keep":
            _check(con, name, query)
    rows, items, by_asset = _count(con)
    if target.partition_by:
        split_index(con, written, folder / "parts", target.partition_by)
        written = folder / "parts"
        checked_folder(target.path)
    index_bytes = sum(file.stat().st_size for file in [written, *written.rglob("*")] if file.is_file())
    put_in_place(written, target.path)
    return BuildReport(
        path=target.path,
        rows=rows,
        items=items,
        assets=by_asset,
        failures=tuple(counts.failures),
        left_out=dict(left_out),
        proj_mismatches=counts.proj_mismatches,
        size_mismatches=counts.size_mismatches,
        noted=counts.noted,
        requests=counts.requests,
        seconds=time.monotonic() - began_s,
        index_bytes=index_bytes,
    )


def _checks_of_every_index() -> dict[str, str]:
    return {file.stem: sql_file(f"checks/{file.name}") for file in sorted((sql_folder() / "checks").glob("*.sql"))}


def _check(con: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    """Run a check on the file that was written."""
    checked = require_select(con, query, f"check {name}", rows="wrong rows", error=InvalidArgumentError)
    result = con.execute(f"FROM {nested(checked)} LIMIT {EXAMPLES}")
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    if rows:
        examples = "; ".join(map(_example, rows))
        remedy = REMEDY if name == _UNIQUE_KEY else "Correct the source or leave them out."
        raise BuildError(f"check {name}: {examples}. Nothing was written. {remedy}")


def _example(row: Mapping[str, Any]) -> str:
    """Describe a row of a check in words; checks of definitions have columns of their own."""
    head = " ".join(str(row[name]) for name in ("item_id", "asset") if row.get(name) is not None)
    rest = {name: value for name, value in row.items() if name not in {"collection", "item_id", "asset", "files"}}
    said = rest["problem"] if "problem" in rest else ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{head}: {said}" if head and said else head or str(said)


def _count(con: duckdb.DuckDBPyConnection) -> tuple[int, int, dict[str, int]]:
    row = con.execute("SELECT count(*), count(DISTINCT (collection, item_id)) FROM asset_index").fetchone()
    assert row is not None
    by_asset = con.execute("SELECT asset, count(*) FROM asset_index GROUP BY asset ORDER BY asset").fetchall()
    return row[0], row[1], dict(by_asset)


def checked_on_duplicate(value: object, what: str = "on_duplicate") -> OnDuplicate:
    """Read a rule for files that share a key; None is "error".

    Raises:
        InvalidArgumentError: the value is no such rule.
    """
    for rule in get_args(OnDuplicate):
        if is_one_of(value, (rule,)) or (value is None and rule == "error"):
            checked: OnDuplicate = rule
            return checked
    raise InvalidArgumentError(f"{what}: got {shown(value)}, expected 'error', 'latest' or 'keep'")


def drop_older_versions(con: duckdb.DuckDBPyConnection) -> int:
    """Add the files of older versions of items to the table `dropped`, which the view `assets` leaves out.

    Args:
        con: connection of the build, with `assets`, `items`, `properties` and `dropped`.

    Returns:
        The number of files.
    """
    names = {row[0] for row in con.execute("DESCRIBE properties").fetchall()}
    times = [f"TRY_CAST({quote_identifier(name)}::VARCHAR AS TIMESTAMPTZ)" for name in _CHANGED if name in names]
    changed_at = f"coalesce({', '.join(times)})" if times else "NULL::TIMESTAMPTZ"
    con.execute(f"CREATE VIEW versions AS SELECT item_no, {changed_at} AS changed_at FROM properties")  # noqa: S608 - quoted
    con.execute(f"CREATE TABLE superseded AS {sql_file('index/superseded.sql')}")
    con.execute("INSERT INTO dropped SELECT asset_no FROM superseded")
    ((number,),) = con.execute("SELECT count(*) FROM superseded").fetchall()
    return int(number)
