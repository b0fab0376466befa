"""The notebooks of examples/ run from their first cell to their last, and are committed with what they show."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
#: Modules beyond those that all notebooks need.
NEEDS = {"sql_in_notebooks": ("sql",), "torchgeo": ("torchgeo",)}
RUNNER = ("nbclient", "nbformat", "ipykernel", "ipywidgets", "matplotlib", "xarray")
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("docs_notebooks", ROOT / "docs" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in cells(notebook, "code") for output in cell["outputs"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_outputs_and_without_traces_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert len(text.encode()) < MAX_BYTES
    numbers = [cell["execution_count"] for cell in cells(notebook, "code")]
    assert numbers == list(range(1, len(numbers) + 1)), "run from the top"
    assert {kind for output in outputs(notebook) for kind in output["data"]} == {
        "text/html",
        "text/plain",
        "image/jpeg",
    }
    assert notebook["metadata"]["kernelspec"] == {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert not re.search(r"/(home|Users|work|root|tmp)/|[A-Z]:\\\\|127\.0\.0\.1", text)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert notebook["cells"][0]["cell_type"] == "markdown"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_says(script: Any, path: Path) -> None:
    missing = [name for name in (*RUNNER, *NEEDS.get(path.stem, ())) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = path.parent
    before = set(folder.iterdir())
    notebook = script.executed(path)
    shown = outputs(notebook)
    printed = "".join("".join(output["text"]) for output in shown if output["output_type"] == "stream")
    assert printed == "", "warnings, or progress that is no widget"
    kinds = {kind for output in shown for kind in output["data"]}
    assert {"text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= kinds
    for output in shown:
        if "image/png" in output["data"]:
            picture = imagecodecs.png_decode(base64.b64decode(output["data"]["image/png"]))
            assert len({tuple(pixel) for pixel in picture[::7, ::7].reshape(-1, picture.shape[-1]).tolist()}) > 8
    assert set(folder.iterdir()) == before, "files beside the notebook"
    # Numbers may differ, since times and compressed sizes do.
    committed = json.loads(path.read_text(encoding="utf-8"))
    assert script.shape(script.committed(notebook)) == script.shape(committed), "stale; run python docs/notebooks.py"


def test_pictures_become_small_and_ports_and_random_numbers_go(script: Any) -> None:
    pixels = _png()
    uuid = "0f1e2d3c-0000-4111-8222-333344445555"
    html = f'<a href="http://127.0.0.1:4711/x" id="{uuid}"><img src="data:image/png;base64,{pixels}"><i for="{uuid}">'
    cell = {
        "cell_type": "code",
        "metadata": {"x": 1},
        "outputs": [
            {"output_type": "display_data", "data": {"image/png": pixels, "text/html": [html]}, "metadata": {"a": 1}},
            {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}},
        ],
    }
    (found,) = script.committed({"cells": [cell], "metadata": {"machine": "mine"}})["cells"][0]["outputs"]
    assert set(found["data"]) == {"image/jpeg", "text/html"}
    (text,) = found["data"]["text/html"]
    assert text.startswith('<a href="http://localhost:8000/x" id="part-0"><img src="data:image/jpeg;base64,')
    assert text.endswith('<i for="part-0">')
    decoded = imagecodecs.jpeg8_decode(base64.b64decode(found["data"]["image/jpeg"]))
    assert decoded.shape == (16, 16, 3)


def test_a_shape_is_of_words_and_kinds(script: Any) -> None:
    def notebook(text: str) -> dict[str, Any]:
        output = {"output_type": "execute_result", "data": {"text/plain": text}}
        return {"cells": [{"cell_type": "code", "outputs": [output]}]}

    same = script.shape(notebook("<xarray.Dataset> Size: 376kB  60 rows"))
    assert same == script.shape(notebook("<xarray.Dataset> Size: 1MB 7 rows"))
    assert same != script.shape(notebook("<xarray.Dataset> Size: 376kB 60 lines"))


def _png() -> str:
    return base64.b64encode(imagecodecs.png_encode(np.full((16, 16, 4), 99, np.uint8))).decode()
