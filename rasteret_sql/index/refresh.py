"""Refresh: the recipe of an index, which is in its metadata, and what became of its files."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown_names
from rasteret_sql.database.folders import index_files, index_reader
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.definition import LEFT_OUT
from rasteret_sql.io.stores import redact
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from rasteret_sql.index.build import BuildRequest
    from rasteret_sql.index.report import BuildReport

#: How many files of each kind a report names; it counts all of them.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """The outcome of `refresh`.

    Attributes:
        build: the rows that were built, and the files that failed.
        new: files that the old index did not have.
        changed: files that were rewritten since the old build; their headers were read again.
        kept: files that did not change.
        gone: files that the source no longer names, or that cannot be read any more; the new index has no rows of them.
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an index is built again.

    Attributes:
        path: the index.
        definition: its definition, as its metadata hold it.
        partition_by: columns by which it is split, or None.
    """

    path: Path
    definition: Mapping[str, Any]
    partition_by: Sequence[str] | None

    @property
    def sql(self) -> str | None:
        """The text of its index definition, or None for an index of sources."""
        return self.definition.get("sql")

    @property
    def described(self) -> str:
        """The source, for messages."""
        return str(self.definition.get("source"))

    def require_trust(self, *, trust: bool) -> None:
        """Refuse to run SQL of the index that nobody has said to trust.

        Raises:
            InvalidArgumentError: the index holds SQL, and `trust` is not given; the message shows the SQL.
        """
        if self.sql is not None and not trust:
            raise InvalidArgumentError(
                f"{self.path}: got an index whose metadata hold a SELECT, expected trust=True to run it. "
                f"Whoever wrote the index wrote the SELECT; read it first:\n{self.sql}"
            )

    def with_variables(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Give the variables of the definition, some of them with new values.

        Raises:
            InvalidArgumentError: the index does not keep the value of a variable, and no new one is given.
        """
        values = {**(self.definition.get("variables") or {}), **(given or {})}
        missing = [name for name, value in values.items() if value == LEFT_OUT]
        if missing:
            raise InvalidArgumentError(
                f"{self.path}: the index does not keep the value of {', '.join(missing)}, which looks like a secret; "
                f"give it with variables=, or with --set {missing[0]}=..."
            )
        return values

    def request(self, variables: Mapping[str, Any] | None) -> BuildRequest:
        """Give the request that builds an index of sources again.

        Raises:
            InvalidArgumentError: there are variables, which such an index does not have.
            InvalidIndexError: the source cannot be read again.
        """
        from rasteret_sql.index.build import build_request, source_options
        from rasteret_sql.index.given_bands import GivenBands

        if variables:
            raise InvalidArgumentError(
                f"variables: got {shown_names(variables)}, expected none; "
                f"{self.path} was not built of an index definition"
            )
        names = ("pattern", "collection", "assets", "alternate", "period_time")
        options = {name: self.definition.get(name) for name in names}
        again = self.definition.get("again") or {}
        return build_request(
            self._source(again),
            self.path,
            source_options(
                href_map=again.get("href_map") or None,
                given=GivenBands.of_definition(self.definition.get("given") or {}),
                **options,
            ),
            partition_by=self.partition_by,
            on_duplicate=self.definition.get("on_duplicate"),
        )

    def _source(self, again: Mapping[str, Any]) -> Any:
        if self.definition.get("search"):
            from rasteret_sql.index.sources.search import stac_search

            search = dict(self.definition["search"])
            url = search.pop("url", None)
            return stac_search(search.pop("dataset", None) or url, **search)
        if again.get("paths"):
            return again["paths"]
        raise InvalidIndexError(
            f"{self.path} was built of {self.definition.get('source') or 'a source that its metadata do not name'}, "
            f"which cannot be asked again; expected paths, URLs, a search or an index definition. "
            f"Build it anew with rasteret_sql.build_index(source, path)"
        )


def read_recipe(path: Path) -> Recipe:
    """Read how an index was built.

    Raises:
        AssetNotFoundError: there is no such index.
        InvalidIndexError: it is no index, or its files come from more than one build.
    """
    from rasteret_sql.index.info import provenance_of

    provenance = provenance_of(path)
    if not path.is_file() and not provenance.get("partition_by"):
        raise InvalidIndexError(
            f"{path} is not one index that was built at a time: it has {len(index_files(path))} files; "
            f"expected a file, or the folder of a partitioned index. Refresh each file"
        )
    return Recipe(path, provenance.get("definition") or {}, provenance.get("partition_by"))


@contextlib.contextmanager
def files_before(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection that has the files of an index before the index is replaced."""
    with own_connection() as con:
        con.execute(f"CREATE VIEW asset_index AS FROM {index_reader(index_files(path))}")
        con.execute(f"CREATE TABLE old_files AS {sql_file('index/indexed_files.sql')}")
        yield con


def compared(con: duckdb.DuckDBPyConnection, report: BuildReport) -> RefreshReport:
    """Count new, changed, kept and missing files; the new index is in the place of the old one."""
    con.execute(f"CREATE OR REPLACE VIEW asset_index AS FROM {index_reader(index_files(report.path))}")
    con.execute(f"CREATE TABLE new_files AS {sql_file('index/indexed_files.sql')}")
    ((new, changed, kept, gone),) = con.execute(sql_file("index/refreshed_files.sql")).fetchall()
    rows = con.execute(
        "SELECT DISTINCT href FROM old_files WHERE href NOT IN (SELECT href FROM new_files) ORDER BY href LIMIT ?",
        [LISTED],
    ).fetchall()
    return RefreshReport(report, new, changed, kept, gone, tuple(redact(href) for (href,) in rows))
