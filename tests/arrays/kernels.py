"""Real Jupyter kernels for tests."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Kernel:
    """A Jupyter kernel of this environment in a folder, whose warnings are errors; skips where there is none."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for library in ("nbclient", "ipykernel"):
            pytest.importorskip(library, reason=f"{library} is not installed")
        import nbformat
        from nbclient import NotebookClient

        # Neither settings nor start-up files of whoever runs the tests.
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(variable, str(folder / variable.lower()))
        monkeypatch.delenv("MPLBACKEND", raising=False)
        self.notebook = nbformat.v4.new_notebook()
        self.client = NotebookClient(
            self.notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )

    def run(self, *cells: str) -> list[list[Any]]:
        """Run cells one after the other; gives the outputs of each."""
        import nbformat

        first = "import warnings; warnings.simplefilter('error')"
        last = "warnings.resetwarnings()"  # the kernel has some of its own when it ends
        self.notebook.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in (first, *cells, last)]
        self.client.execute()
        return [cell.outputs for cell in self.notebook.cells[1:-1]]

    def widgets(self) -> list[dict[str, Any]]:
        """The last state of each bar that was shown as a widget."""
        states = self.notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
        return [one["state"] for one in states if one["model_name"] == "FloatProgressModel"]


def printed(outputs: list[Any]) -> str:
    """What a cell wrote to stdout and stderr."""
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def shown(outputs: list[Any]) -> str:
    """What a cell ends with, as text."""
    return str(outputs[-1]["data"]["text/plain"])
