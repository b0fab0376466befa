"""Writes the reference pages from what they describe: SQL files, schemas, docstrings and the command line.

`python docs/generate.py` writes them; `--check` writes nothing and fails where one of them is stale.
"""
# ruff: noqa: INP001, T201 - a script, not a module of the package; it talks to a terminal

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from generators.command_line import cli_page
from generators.index_schema import schema_page
from generators.python_api import python_page
from generators.sql_functions import sql_page

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parent
PAGES = {
    "sql.md": sql_page,
    "schema.md": schema_page,
    "python.md": python_page,
    "cli.md": cli_page,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or say which are stale."""
    arguments = argparse.ArgumentParser(prog="python docs/generate.py", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    is_check = arguments.parse_args(argv).check
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make().rstrip() + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not is_check:
            path.write_text(text, encoding="utf-8")
    if is_check and stale:
        print(f"{', '.join(stale)}: stale; run python docs/generate.py", file=sys.stderr)
        return 1
    print("\n".join(stale) or "all pages are current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
