"""Runs the notebooks of examples/ and writes their outputs into them: `python docs/notebooks.py`.

`--check` writes nothing, and fails where the outputs of a notebook have another shape. Numbers may differ, since times
and compressed sizes do. Progress bars are left out: they are widgets, which need a kernel.
"""
# ruff: noqa: INP001, T201 - a script, not a module of the package; it talks to a terminal

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: What the metadata of a committed notebook say: nothing of the machine that ran it.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
#: Thumbnails in tables.
_INLINE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Seconds after which a cell that has not ended is an error.
_CELL_S = 600
#: Quality of pictures, which are a third as large as JPEG.
_QUALITY = 60
_SERVER = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+")
#: xarray numbers the parts of its tables with these, anew for each.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def executed(path: Path) -> dict[str, Any]:
    """Run a notebook in an empty folder, and give it with its outputs, all of them."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, _environment(folder):
        NotebookClient(
            notebook,
            timeout=_CELL_S,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        ).execute()
    found: dict[str, Any] = json.loads(nbformat.writes(notebook))
    return found


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Run kernels without settings and start-up files of whoever runs the script, and with every warning."""
    given = {name: f"{folder}/{name.lower()}" for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    given |= {"TMPDIR": folder, "PYTHONWARNINGS": "always"}
    before = dict(os.environ)
    os.environ.update(given)
    os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def committed(notebook: dict[str, Any]) -> dict[str, Any]:
    """Give a notebook as it is committed: without progress bars and traces of a machine, and with small pictures."""
    uuids: dict[str, str] = {}
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            outputs = [output for output in cell["outputs"] if _WIDGET not in output.get("data", {})]
            cells.append(cell | {"metadata": {}, "outputs": [_small(output, uuids) for output in outputs]})
        else:
            cells.append(cell)
    return notebook | {"cells": cells, "metadata": METADATA}


def _small(output: dict[str, Any], uuids: dict[str, str]) -> dict[str, Any]:
    """Make a picture a JPEG, and give texts without ports and random numbers."""

    def plain(text: str) -> str:
        text = _SERVER.sub("http://localhost:8000", text)
        text = _INLINE.sub(lambda found: f"data:image/jpeg;base64,{_jpeg(found[1])}", text)
        return _UUID.sub(lambda found: uuids.setdefault(found[0], f"part-{len(uuids)}"), text)

    data: dict[str, Any] = {}
    for kind, value in output.get("data", {}).items():
        if kind == "image/png":
            data["image/jpeg"] = _jpeg(value)
        else:
            data[kind] = [plain(line) for line in value] if isinstance(value, list) else value
    return output | ({"data": data} if data else {}) | ({"metadata": {}} if "metadata" in output else {})


def _jpeg(png: str) -> str:
    pixels = np.ascontiguousarray(imagecodecs.png_decode(base64.b64decode(png))[..., :3])
    return base64.b64encode(imagecodecs.jpeg8_encode(pixels, level=_QUALITY)).decode()


def shape(notebook: dict[str, Any]) -> list[list[tuple[str, list[str], str]]]:
    """Give the outputs of each cell by what they are: types, kinds of data, and texts without numbers."""
    return [
        [(output["output_type"], sorted(output.get("data", {})), _words(output)) for output in cell.get("outputs", [])]
        for cell in notebook["cells"]
    ]


def _words(output: dict[str, Any]) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain") or ""
    return re.sub(r"[-\s.…]+", " ", re.sub(r"-?\d[\d.,]*(?: ?[kMG]i?B)?", "0", "".join(text))).strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Write the outputs, or say which notebooks are stale."""
    parser = argparse.ArgumentParser(prog="python docs/notebooks.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a notebook is stale")
    is_check = parser.parse_args(argv).check
    stale = []
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        before = json.loads(path.read_text(encoding="utf-8"))
        after = committed(executed(path))
        if shape(before) != shape(after):
            stale.append(path.name)
        if not is_check:
            path.write_text(json.dumps(after, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size:,} bytes")
    if is_check and stale:
        print(f"{', '.join(stale)}: stale; run python docs/notebooks.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
