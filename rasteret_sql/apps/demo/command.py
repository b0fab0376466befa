"""`rasteret-sql demo`: the whole path, offline: a collection, a server, an index, SQL, pixels, a picture."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import Style, note, program
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse

    import duckdb
    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.apps.demo.collection import CollectionInfo
    from rasteret_sql.apps.demo.picture import View
    from rasteret_sql.apps.demo.script import DemoScript
    from rasteret_sql.testing.server import RangeServer

_ITEMS = 12
_SIZE = 768
_TILE = 256
_WHAT = {
    "collection": "GeoTIFFs and their STAC catalog",
    "index": "the index",
    "clear_index": "the part of it with few clouds",
    "queries": "the SQL above",
    "picture": "the picture",
}
_HOW_TO_COMPILE = "With a C compiler, installing rasteret-sql again makes resampling several times as fast."
#: The area is the collection's site with as much of its surroundings, rounded to what is printed.
_AREA_FACTOR, _AREA_DIGITS = 1.6, 4

_EPILOG = """\
It writes a small Sentinel-2-like collection, serves it from a local HTTP server with its STAC
catalog, builds the index over HTTP, and queries it. Every line of SQL is shown before it runs.

examples:
  rasteret-sql demo
  rasteret-sql demo /tmp/demo
  rasteret-sql demo --json | jq -r .index"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "demo", "run the whole path in a minute, offline", _EPILOG)
    command.add_argument(
        "folder", nargs="?", type=Path, default=Path("demo"), metavar="FOLDER", help="where to write (./demo)"
    )
    command.add_argument("--json", action="store_true", help="print only a report, as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    began_s = time.perf_counter()
    folder: Path = arguments.folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    demo = _Demo(folder, Style.of(sys.stdout))
    if arguments.json:
        with contextlib.redirect_stdout(io.StringIO()):
            demo.run()
        seconds = round(time.perf_counter() - began_s, 3)
        print(json.dumps({**{name: str(path) for name, path in demo.files().items()}, "seconds": seconds}, indent=2))
        return 0
    demo.run()
    demo.say_what_next(time.perf_counter() - began_s)
    return 0


class _Demo:
    """The steps, in order."""

    def __init__(self, folder: Path, style: Style) -> None:
        self.folder = folder
        self.style = style
        self.index = folder / "s2.parquet"
        self.clear_index = folder / "clear.parquet"
        self.picture = folder / "ndvi.png"
        self.queries = folder / "queries.sql"
        self.step = 0
        self.is_drawn = False
        self.statements: list[str] = []

    def run(self) -> None:
        from rasteret_sql.apps.demo.script import DemoScript
        from rasteret_sql.sql.connection import connect
        from rasteret_sql.testing.server import RangeServer

        print(self.style.bold("From TIFF headers in Parquet to pixels in SQL"))
        written = self._write_collection()
        script = DemoScript(self.index, self.clear_index, _area(written.site))
        with RangeServer(written.folder) as server:
            self._build_over_http(server, written)
            with connect() as con:
                self.server = server
                self._heading("The index is a plain Parquet table: any DuckDB reads it")
                self._query(con, script.show_index)
                self._heading("Filter it by place, date and cloud cover; the result is an index too")
                self._query(con, script.filter_index)
                self._query(con, script.show_clear_index)
                self._heading("What would it cost to read red and nir there? Nothing is fetched to know")
                self._query(con, script.explain)
                self._heading("Pixels are a table function; who does not select pixels fetches nothing")
                self._query(con, script.list_tiles)
                self._query(con, script.read)
                self._heading("An NDVI time series in SQL: pixels are rows, and scl tells where clouds are")
                self._query(con, script.ndvi)
            self._heading("The same as NumPy arrays: one read per CRS, each on its own grid")
            views = self._arrays(script, written)
        self._draw(views, written, script.area)
        self._rebuild_locally(script, written)

    def _write_collection(self) -> CollectionInfo:
        from rasteret_sql.apps.demo.collection import write_collection

        self._heading("A Sentinel-2-like collection: 12 dates, five bands, two UTM zones")
        print()
        began_s = time.perf_counter()
        written = write_collection(self.folder / "collection", items=_ITEMS, size=_SIZE, tile=_TILE)
        written_bytes = sum(Path(path).stat().st_size for path in written.hrefs)
        print(f"{written.document}: {count(len(written.hrefs), 'GeoTIFF')}, {size(written_bytes)}")
        self._timing(began_s)
        return written

    def _build_over_http(self, server: RangeServer, written: CollectionInfo) -> None:
        from rasteret_sql.apps.build import report_as_text
        from rasteret_sql.sql.indexes import build_index

        self._heading("A local server has it, with a STAC catalog; one pass over headers is the index")
        url = server.url(written.document.name)
        self._show(f"{program()} build {url} -o {shlex.quote(str(self.index))}")
        began_s = time.perf_counter()
        report = build_index(url, self.index)
        print(report_as_text(report, self.style))
        self._timing(began_s, server)
        for failure in report.failures:
            note(str(failure))

    def _query(self, con: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Show statements, run them, and show the last result with what it took."""
        from rasteret_sql.apps.output import box
        from rasteret_sql.apps.sql import last_result, run_through

        self._show(sql)
        self.statements.append(sql)
        self.server.reset()
        began_s = time.perf_counter()
        *first, last = con.extract_statements(sql)
        for statement in first:
            run_through(con, statement)
        result = last_result(con, last)
        if result is not None:
            sys.stdout.write(box(con, result, max_rows=40).text)
        self._timing(began_s, self.server)

    def _arrays(self, script: DemoScript, written: CollectionInfo) -> list[View]:
        from rasteret_sql.apps.demo.picture import View
        from rasteret_sql.arrays.numpy import to_numpy

        codes = sorted({f"EPSG:{item.epsg}" for item in written.items})
        python = script.arrays(codes)
        self._show(python)
        self.server.reset()
        began_s = time.perf_counter()
        names: dict[str, Any] = {}
        exec(compile(python, "demo", "exec"), names)  # noqa: S102 - so that what is shown is what runs
        series: dict[np.datetime64, npt.NDArray[np.float32]] = names["series"]
        self._timing(began_s, self.server)
        views = []
        for crs in codes:
            items = f"FROM {quote_literal(str(self.index))} WHERE crs = '{crs}'"
            natural = to_numpy(items, bands=["red", "green", "blue"], bbox=script.area)
            pictures = natural.data.transpose(0, 2, 3, 1)
            views += [
                View(when, crs, picture, series[when]) for when, picture in zip(natural.times, pictures, strict=True)
            ]
        return views

    def _draw(self, views: list[View], written: CollectionInfo, area: tuple[float, float, float, float]) -> None:
        from rasteret_sql.apps.demo.picture import save_picture

        self._heading("A picture\n")
        began_s = time.perf_counter()
        place = f"{written.collection_id}; lon/lat {', '.join(map(str, area))}"
        try:
            save_picture(
                views,
                self.picture,
                title="One place through a year: reflectance and NDVI",
                subtitle=f"{place}; NDVI at 20 m, clouds out; hollow: under half is clear",
            )
        except ModuleNotFoundError:
            note("No picture: matplotlib is not installed. pip install 'rasteret-sql[plot]' adds it.")
            return
        self.is_drawn = True
        print(self.picture)
        self._timing(began_s)

    def _rebuild_locally(self, script: DemoScript, written: CollectionInfo) -> None:
        """Build the index from the files themselves, so that what was shown works without the server."""
        from rasteret_sql.sql.connection import connect
        from rasteret_sql.sql.indexes import build_index

        self._heading("The server ends: an index of the files, so that the SQL above still runs")
        self._show(f"{program()} build {shlex.quote(str(written.document))} -o {shlex.quote(str(self.index))}")
        began_s = time.perf_counter()
        build_index(str(written.document), self.index)
        with connect() as con:
            con.execute(script.filter_index).fetchall()
        self.queries.write_text("\n\n".join(self.statements) + "\n", encoding="utf-8")
        self._timing(began_s)

    def files(self) -> dict[str, Path]:
        """What was written, by what it is."""
        files = {
            "collection": self.folder / "collection",
            "index": self.index,
            "clear_index": self.clear_index,
            "queries": self.queries,
        }
        return files | {"picture": self.picture} if self.is_drawn else files

    def say_what_next(self, seconds: float) -> None:
        """Name what was written, and what to try."""
        from rasteret_sql.read.compiled import kernels

        command, index = program(), shlex.quote(str(self.index))
        read_tiles = f"FROM read_tiles({quote_literal(str(self.index))}, bands := ['red']) LIMIT 3"
        files = {path: _WHAT[name] for name, path in self.files().items()}
        print(f"\n{self.style.bold('Written')} {self.style.dim(f'in {seconds:.1f} s')}")
        width = max(len(str(path)) for path in files) + 2
        for path, what in files.items():
            print(f"  {path!s:<{width}}{what}")
        if kernels is None:
            print(f"\nNumPy resamples pixels here, since no kernels were compiled. {_HOW_TO_COMPILE}")
        print(f"\n{self.style.bold('Try next')}")
        for arguments in (
            f"info {index}",
            f"explain {index} --bands red,nir --datetime 2024-03",
            f"sql {_in_quotes(read_tiles)}",
            f"preview {index}",
            f"sql -f {shlex.quote(str(self.queries))}",
            f"shell {index}  # a prompt, with the index as the view {self.index.stem}",
        ):
            print(f"  {self.style.accent(f'{command} {arguments}')}")

    def _heading(self, text: str) -> None:
        self.step += 1
        print(f"\n{self.style.bold(f'{self.step}. {text}')}")

    def _show(self, text: str) -> None:
        print("\n" + "\n".join(self.style.accent(line) for line in text.splitlines()) + "\n")

    def _timing(self, began_s: float, server: RangeServer | None = None) -> None:
        parts = [f"{time.perf_counter() - began_s:.2f} s"]
        if server is not None:
            asked = server.requests
            fetched = size(sum(request.nbytes_sent for request in asked))
            parts.append(f"{count(len(asked), 'request')}, {fetched}" if asked else "no request")
        print(self.style.dim(f"-- {', '.join(parts)}"))


def _in_quotes(sql: str) -> str:
    """Quote a query for a shell, in double quotes where that is safe: they leave those of SQL as they are."""
    return shlex.quote(sql) if set(sql) & set('"$`\\!') else f'"{sql}"'


def _area(site: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Give the site with its surroundings."""
    xmin, ymin, xmax, ymax = site
    more_x, more_y = ((_AREA_FACTOR - 1) / 2 * side for side in (xmax - xmin, ymax - ymin))
    corners = (xmin - more_x, ymin - more_y, xmax + more_x, ymax + more_y)
    return tuple(round(value, _AREA_DIGITS) for value in corners)  # type: ignore[return-value]
