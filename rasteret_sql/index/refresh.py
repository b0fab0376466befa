"""Refresh: an index is built again from what its metadata say, and files that did not change are not read again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.definition import LEFT_OUT
from rasteret_sql.index.folders import index_files, index_reader
from rasteret_sql.index.sqlfiles import sql_file
from rasteret_sql.wording import count

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from rasteret_sql.index.progress import Progress
    from rasteret_sql.index.report import BuildReport

#: How many files of each kind a report names; it counts all of them.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """The outcome of `refresh`.

    Attributes:
        build: what was built, and what failed.
        new: files that the index did not have.
        changed: files that were rewritten since, and were read anew.
        kept: files that did not change.
        gone: files that the source no longer names, or that can no longer be read; their rows are not there.
        gone_files: paths and URLs of these, without query strings; a thousand at most.
    """

    build: BuildReport
    new: int
    changed: int
    kept: int
    gone: int
    gone_files: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say the outcome in one line; `str()` says all of it."""
        return f"<RefreshReport {self.build.path}: {self._counts}>"

    def __str__(self) -> str:
        return f"{self.build}\n  files: {self._counts}"

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import Html, details, panel, table

        names = ("new", "changed", "kept", "gone")
        gone = f"{count(self.gone, 'file')} that {'is' if self.gone == 1 else 'are'} gone"
        return panel(
            "RefreshReport",
            str(self.build.path),
            table(names, [[getattr(self, name) for name in names]]),
            details(gone, table(("file",), [[name] for name in self.gone_files])) if self.gone_files else None,
            Html(self.build._repr_html_()),
        )

    @property
    def _counts(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.kept:,} kept, {self.gone:,} gone"


def refresh(
    index: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
    progress: Progress | bool = False,
) -> RefreshReport:
    """Build an index again from its own definition: new files in, changed ones read anew, gone ones out.

    What the index was built of is in its metadata: paths and options, a search, or the SQL of a definition. The source
    is asked anew; a file that the index has already is compared by one request of one byte, and its header is read
    where ETag, size or time of change differ. The SELECT of a definition may change what headers say, so that it cannot
    be taken over: all headers are read anew. The new index takes the place of the old one once it is complete.

    Args:
        index: a local index: a file, or the folder of a partitioned one.
        variables: variables of an index definition that are not those of the build, by name.
        progress: as for `build_index`.

    Returns:
        What was built, and how many files are new, changed, kept and gone.

    Raises:
        AssetNotFoundError: there is no such index.
        InvalidIndexError: it is not one, or it does not say how it can be built again.
        InvalidArgumentError: a variable is missing, or is given to an index that was not built of SQL.
        BuildError: nothing was found or could be read, or a check failed; the index stays as it was.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.refresh("s2.parquet").new  # doctest: +SKIP
        12
    """
    from rasteret_sql.index.info import provenance_of

    path = Path(index).expanduser()
    provenance = provenance_of(path)
    if not path.is_file() and not provenance.get("partition_by"):
        raise InvalidIndexError(
            f"{path} is not one index that was built at a time: it has {len(index_files(path))} files; "
            f"expected a file, or the folder of a partitioned index. Refresh each file"
        )
    definition: Mapping[str, Any] = provenance.get("definition") or {}
    with _old_files(path) as old:
        report = _built_again(path, definition, variables, provenance.get("partition_by"), progress)
        return _compared(old, report)


def _built_again(
    path: Path,
    definition: Mapping[str, Any],
    variables: Mapping[str, Any] | None,
    partition_by: Sequence[str] | None,
    progress: Progress | bool,  # noqa: FBT001
) -> BuildReport:
    if "sql" in definition:
        from rasteret_sql.sql.definitions import build_from_text

        values = _variables(path, definition.get("variables") or {}, variables)
        what = str(definition.get("source"))
        return build_from_text(
            definition["sql"], path, what=what, variables=values, partition_by=partition_by, progress=progress
        )
    if variables:
        raise InvalidArgumentError(
            f"variables: got {', '.join(variables)}, expected none; {path} was not built of an index definition"
        )
    from rasteret_sql.index.build import build_again

    options = {name: definition.get(name) for name in ("pattern", "collection", "assets", "alternate")}
    again = definition.get("again") or {}
    options["href_map"] = again.get("href_map") or None
    source = _source(path, definition, again)
    return build_again(source, path, **options, partition_by=partition_by, progress=progress)


def _variables(path: Path, kept: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    values = {**kept, **(given or {})}
    missing = [name for name, value in values.items() if value == LEFT_OUT]
    if missing:
        raise InvalidArgumentError(
            f"{path}: the index does not keep the value of {', '.join(missing)}, which looks like a secret; "
            f"give it with variables=, or with --set {missing[0]}=..."
        )
    return values


def _source(path: Path, definition: Mapping[str, Any], again: Mapping[str, Any]) -> Any:
    if definition.get("search"):
        from rasteret_sql.index.sources.api import stac_search

        search = dict(definition["search"])
        url = search.pop("url", None)
        return stac_search(search.pop("dataset", None) or url, **search)
    if again.get("paths"):
        return again["paths"]
    raise InvalidIndexError(
        f"{path} was built of {definition.get('source') or 'what its metadata do not say'}, which cannot be asked "
        f"again; expected paths, URLs, a search or an index definition. "
        f"Build it anew with rasteret_sql.build_index(source, path)"
    )


@contextlib.contextmanager
def _old_files(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection that has what the index says of its files before it is replaced."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(f"CREATE VIEW asset_index AS FROM {index_reader(index_files(path))}")
        con.execute(f"CREATE TABLE old_files AS {sql_file('index/indexed_files.sql')}")
        yield con


def _compared(con: duckdb.DuckDBPyConnection, report: BuildReport) -> RefreshReport:
    """Count what became of the files; the new index is in the place of the old one."""
    con.execute(f"CREATE OR REPLACE VIEW asset_index AS FROM {index_reader(index_files(report.path))}")
    con.execute(f"CREATE TABLE new_files AS {sql_file('index/indexed_files.sql')}")
    ((new, changed, kept, gone),) = con.execute(sql_file("index/refreshed_files.sql")).fetchall()
    rows = con.execute(
        "SELECT DISTINCT href FROM old_files WHERE href NOT IN (SELECT href FROM new_files) ORDER BY href LIMIT ?",
        [LISTED],
    ).fetchall()
    from rasteret_sql.io.stores import redact

    return RefreshReport(report, new, changed, kept, gone, tuple(redact(href) for (href,) in rows))
