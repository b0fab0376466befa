"""The notebooks of examples/ run from their first cell to their last, and are committed as they were before."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import imagecodecs
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
#: Modules beyond those that all notebooks need.
NEEDS = {"sql_in_notebooks": ("sql",), "torchgeo": ("torchgeo",)}
RUNNER = ("nbclient", "nbformat", "ipykernel", "ipywidgets", "matplotlib", "xarray")


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_without_traces_of_a_machine(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert [cell["outputs"] for cell in cells(notebook, "code") if cell["outputs"]] == []
    assert {cell["execution_count"] for cell in cells(notebook, "code")} == {None}
    assert notebook["metadata"]["kernelspec"] == {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert not re.search(r"/(home|Users|work|root)/|[A-Z]:\\\\", path.read_text(encoding="utf-8"))
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert notebook["cells"][0]["cell_type"] == "markdown"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in (*RUNNER, *NEEDS.get(path.stem, ())) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    import nbformat
    from nbclient import NotebookClient

    # Neither settings nor start-up files of whoever runs the tests, and every warning.
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "always")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources=resources).execute()

    shown = [output for cell in cells(notebook, "code") for output in cell["outputs"]]
    printed = "".join(output["text"] for output in shown if output["output_type"] == "stream")
    assert printed == "", "warnings, or progress that is no widget"
    kinds = {kind for output in shown for kind in output["data"]}
    assert {"text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= kinds
    for output in shown:
        if "image/png" in output["data"]:
            picture = imagecodecs.png_decode(base64.b64decode(output["data"]["image/png"]))
            assert len({tuple(pixel) for pixel in picture[::7, ::7].reshape(-1, picture.shape[-1]).tolist()}) > 8
    left = {found.name for found in tmp_path.iterdir()}
    assert not left & {"collection", "s2.parquet"}, "files beside the notebook"
