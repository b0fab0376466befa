"""Writes what queries give under them: into each page, after the fences that `<!-- output -->` follows.

`python docs/outputs.py` runs the fences of these pages from the top and writes the outputs; `--check` writes nothing,
and fails where an output has another shape. Numbers may differ, since times and compressed sizes do.
"""
# ruff: noqa: INP001, T201 - a script, not a module of the package; it talks to a terminal

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasteret_sql as rs
from rasteret_sql.apps.main import main as run_command
from rasteret_sql.apps.output import box

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parent
#: Pages, and whether they begin in the folder that the demo leaves.
PAGES = {"index.md": True, "tutorial.md": False}
_ROWS = 6
_FENCE = re.compile(
    r"^```(?P<language>python|sql)\n(?P<code>.*?)^```\n(?P<marker>\n<!-- output -->\n(?:```text\n.*?^```\n)?)?",
    re.MULTILINE | re.DOTALL,
)


def with_outputs(text: str) -> str:
    """Run the fences of a page in the working folder, and give the page with its outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with rs.connect() as con:

        def run(match: re.Match[str]) -> str:
            run_fence = _python if match["language"] == "python" else _sql
            shown = run_fence(match["code"], names, con)
            if match["marker"] is None:
                return match[0]
            fence = f"```{match['language']}\n{match['code']}```\n"
            return f"{fence}\n<!-- output -->\n```text\n{shown.strip()}\n```\n"

        found = _FENCE.sub(run, text)
        for value in names.values():
            if hasattr(value, "close") and type(value).__module__.startswith(("_duckdb", "duckdb")):
                value.close()
        return found


def _python(code: str, names: dict[str, Any], _con: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "page", "exec"), names)  # noqa: S102 - the code of our own pages
    return out.getvalue()


def _sql(code: str, _names: dict[str, Any], con: Any) -> str:
    *first, last = con.extract_statements(code)
    for statement in first:
        con.execute(statement).fetchall()
    shown = box(con, con.sql(last.query), max_rows=_ROWS)
    return f"{shown.text}  the first {_ROWS} rows" if shown.is_cut else shown.text


def _shape(text: str) -> str:
    """Give a page without its numbers, and without the widths that follow from them."""
    return re.sub(r"[ ─]+", " ", re.sub(r"\b[0-9a-f]{32}\b|-?[\d][\d.,]*", "0", text))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the outputs, or say where they are stale."""
    parser = argparse.ArgumentParser(prog="python docs/outputs.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where an output is stale")
    is_check = parser.parse_args(argv).check
    # Outputs are as wide as code may be, whatever the terminal.
    os.environ["COLUMNS"] = "120"
    stale = []
    for name, has_demo in PAGES.items():
        path = DOCS / name
        before = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            if has_demo:
                with contextlib.redirect_stdout(io.StringIO()):
                    run_command(["demo", "--json"])
            after = with_outputs(before)
        if _shape(before) != _shape(after):
            stale.append(name)
        if not is_check:
            path.write_text(after, encoding="utf-8")
    if is_check and stale:
        print(f"{', '.join(stale)}: stale; run python docs/outputs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
