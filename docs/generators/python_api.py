"""The page of the public names in Python, from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

import rasteret_sql as rs
from generators.tables import MADE, table
from rasteret_sql import errors
from rasteret_sql.docstrings import TITLES, sections

_SKIPPED = re.compile(r"  # doctest: .*$", re.MULTILINE)
_PYTHON_INTRO = """\
# Python

`import rasteret_sql as rs` imports nothing heavy; each name below is imported when it is first used. `index` is
always *rows of an index*: a DuckDB relation, an Arrow table, a Parquet path, folder, glob or URL, or the text of a
query.
"""
#: What is documented together; functions that are named nowhere here come last.
_TASKS = (
    ("Connections", ("connect", "install", "interrupt")),
    ("Build an index and keep it current", ("build_index", "stac_search", "datasets", "refresh", "validate")),
    ("Look before reading", ("explain",)),
    ("Read", ("to_xarray", "to_numpy", "to_geopandas", "read_chips", "read_tiles", "to_kerchunk")),
    ("Train", ("to_torchgeo", "block_sampler", "split_blocks", "handoff", "from_handoff")),
    ("Cut a read in pieces", ("shards", "to_dask")),
    ("Pixels, points, zones and windows as rows", ("read_pixels", "sample_points", "zonal_stats", "chips")),
    ("Pictures", ("plot_rgb", "plot_footprints")),
)
_OTHERS = "More"


def python_page() -> str:
    """The public names: signatures and docstrings."""
    names = [name for name in rs.__all__ if name != "RasteretError"]
    functions = [name for name in names if inspect.isfunction(getattr(rs, name))]
    classes = [name for name in names if name not in functions]
    tasks = [(title, [name for name in of_task if name in functions]) for title, of_task in _TASKS]
    named = {name for _, of_task in tasks for name in of_task}
    tasks.append((_OTHERS, [name for name in functions if name not in named]))
    tasks.append(("What they give", classes))
    parts = [MADE, _PYTHON_INTRO]
    for title, of_task in tasks:
        if of_task:
            rows = [(f"[`{name}`](#{name.lower()})", _summary(getattr(rs, name))) for name in of_task]
            parts += [
                f"## {title}\n",
                table(("Name", "What it does" if title != "What they give" else "What it is"), rows),
                "",
            ]
            parts += [_documented(name, getattr(rs, name)) for name in of_task]
    return "\n".join([*parts, _errors(), _testing()])


def _summary(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _documented(name: str, thing: Any) -> str:
    said = sections(inspect.getdoc(thing))
    # `py` is colour alone: what stands under `python` is run.
    shown = f"```py\n{_signature(name, thing)}\n```\n" if inspect.isfunction(thing) else ""
    parts = [f"### {name}\n", shown, said.text + "\n"]
    for section, title in TITLES.items():
        if section in said.items:
            lines = [f"* `{key}`: {text}" for key, text in said.items[section].items()]
            parts.append(f"{title}:\n\n" + "\n".join(lines).replace("<", "&lt;") + "\n")
        elif section in said.others:
            text = said.others[section]
            if text.startswith(">>>"):
                parts.append(f"{title}:\n\n```pycon\n{_SKIPPED.sub('', text)}\n```\n")
            else:
                parts.append(f"{title}: {' '.join(text.split())}\n".replace("<", "&lt;"))
    return "\n".join(part for part in parts if part)


def _signature(name: str, function: Any) -> str:
    """Write a signature as its source has it; inspect's own text changes between versions of Python."""
    signature = inspect.signature(function)
    lines, seen_star = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_star:
            lines.append("*")
            seen_star = True
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    short = f"def {name}({', '.join(lines)}) -> {signature.return_annotation}"
    if len(short) <= 100:
        return short
    return "\n".join([f"def {name}(", *(f"    {line}," for line in lines), f") -> {signature.return_annotation}"])


def _errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").splitlines()
    first = next(n for n, line in enumerate(tree) if line.strip() == "RasteretError")
    last = max(n for n, line in enumerate(tree) if "──" in line)
    drawn = inspect.cleandoc("\n".join(tree[first : last + 1]))
    return f"""\
## Errors

All are in `rasteret_sql.errors`, and inherit the builtin in brackets too; `rs.RasteretError` catches every one.
A message says what it is about, what was got, what was expected and what to do. Inside SQL, DuckDB raises an error of
its own whose text ends with the name of ours and its message.

```text
{drawn}
```
"""


def _testing() -> str:
    from rasteret_sql import testing

    rows = []
    for name in testing.__all__:
        first = (inspect.getdoc(getattr(testing, name)) or "").partition("\n")[0]
        rows.append((f"`{name}`", first))
    return f"""\
## Testing

`rasteret_sql.testing` writes files and collections, and serves them with faults, for tests of pipelines.

{table(("Name", "What it is"), rows)}
"""
