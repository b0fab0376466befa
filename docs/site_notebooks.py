"""Shows the notebooks of examples/ on the site: a page each, with the outputs that they are committed with."""
# ruff: noqa: INP001 - a hook of mkdocs, not a module of the package

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

_EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: Tables of pandas and JupySQL, which have no style of their own.
_TABLES = """
table { border-collapse: collapse; }
th, td { border: 0; padding: 0.15rem 0.6rem; text-align: right; }
tbody tr:nth-child(odd) { background: color-mix(in srgb, currentColor 6%, transparent); }
"""
#: Outputs by the id of the element that they take the place of: raw HTML, which Markdown must not touch.
_outputs: dict[str, str] = {}


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook, as mkdocs asks before it builds."""
    from mkdocs.structure.files import File

    for path in sorted(_EXAMPLES.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_page(path.stem, notebook)))
    return files


def on_page_content(text: str, **_context: Any) -> str:
    """Put the outputs into a page."""
    for mark, output in _outputs.items():
        text = text.replace(mark, output)
    return text


def _page(name: str, notebook: dict[str, Any]) -> str:
    """Give a notebook as Markdown."""
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        language = "sql" if source.startswith("%%sql") else "python"
        parts.append(f"```{language}\n{source}\n```")
        for place, output in enumerate(cell["outputs"]):
            mark = f'<div class="notebook-output" id="{name}-{number}-{place}"></div>'
            _outputs[mark] = mark.replace("></div>", f">{_shown(output)}</div>")
            parts.append(mark)
        if number == 1:
            parts.insert(1, f"*This page is the notebook `examples/{name}.ipynb` of the repository, with its outputs.*")
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, Any]) -> str:
    """Give the HTML of an output: its picture, its own HTML, or its text."""
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/jpeg" in data:
        return f'<img alt="{html.escape(data["text/plain"])}" src="data:image/jpeg;base64,{data["image/jpeg"]}">'
    if "text/html" in data:
        # In a tree of its own, so that the styles of the page and those of the output do not meet.
        styled = data["text/html"].replace(":root", ":host")
        return f'<template shadowrootmode="open"><style>{_TABLES}</style>{styled}</template>'
    return f"<pre>{html.escape(data.get('text/plain') or ''.join(output.get('text', '')))}</pre>"
