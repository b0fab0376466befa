"""Draws the pictures of README and documents from the demo's collection: `python docs/pictures.py [FOLDER]`.

They are made by the commands and functions that the pages show beside them, and written to docs/images by default.
"""
# ruff: noqa: INP001, T201 - a script, not a module of the package; it talks to a terminal

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from charts import charts
from outputs import with_outputs

import rasteret_sql as rs
from rasteret_sql.apps.main import main as run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
_QUALITY = 80


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture into a folder, as WebP."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        with contextlib.redirect_stdout(io.StringIO()):
            _run("demo", "--json")
        images = {"ndvi": _read("demo/ndvi.png"), **_previews(), **_plots(), **_tutorial(), **charts()}
    paths = []
    for name, pixels in images.items():
        path = folder / f"{name}.webp"
        path.write_bytes(imagecodecs.webp_encode(_opaque(pixels), level=_QUALITY, lossless=False))
        paths.append(path)
    return paths


def _previews() -> dict[str, Image]:
    """Draw the pictures of the command line, as how-to/pictures.md shows them."""
    index = "demo/s2.parquet"
    commands = {
        "preview": (index, "--where", '"eo:cloud_cover" < 10', "--size", "700"),
        "preview-ndvi": (index, "--bands", "(nir - red) / (nir + red)", "--size", "640"),
        "preview-classes": (index, "--bands", "scl", "--size", "560"),
        "preview-viridis": (index, "--bands", "nir", "--colormap", "viridis", "--size", "560"),
    }
    for name, arguments in commands.items():
        with contextlib.redirect_stderr(io.StringIO()):
            _run("preview", *arguments, "-o", f"{name}.png")
    return {name: _read(f"{name}.png") for name in commands}


def _plots() -> dict[str, Image]:
    """Draw the plots of Python, as how-to/pictures.md and the tutorial show them."""
    import matplotlib as mpl

    mpl.use("Agg")
    clear = "FROM 'demo/s2.parquet' WHERE crs = 'EPSG:32643' AND \"eo:cloud_cover\" < 15"
    area = (77.98, 12.98, 78.00, 13.00)
    dataset = rs.to_xarray(clear, bands=["red", "green", "blue", "nir"], bbox=area)
    axes = {
        "plot-rgb": rs.plot_rgb(dataset, percentiles=(2, 80)),
        "plot-formula": rs.plot_rgb(dataset, "(nir - red) / (nir + red)"),
        "plot-footprints": rs.plot_footprints("demo/s2.parquet", color_by="crs"),
    }
    return {name: _figure(each) for name, each in axes.items()}


def _tutorial() -> dict[str, Image]:
    """Follow the tutorial to its picture."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with_outputs((DOCS / "tutorial.md").read_text(encoding="utf-8"))
        return {"tutorial-ndvi": _read("ndvi.png")}


def _figure(axes: Any) -> Image:
    data = io.BytesIO()
    np.atleast_1d(axes)[0].figure.savefig(data, format="png", dpi=100)
    return np.asarray(imagecodecs.png_decode(data.getvalue()))


def _read(path: str) -> Image:
    return np.asarray(imagecodecs.png_decode(Path(path).read_bytes()))


def _opaque(pixels: Image) -> Image:
    """Put a picture on white."""
    if pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    return np.ascontiguousarray(np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(255)))


def _run(*arguments: str) -> None:
    if run_command(list(arguments)) != 0:
        raise RuntimeError(f"rasteret-sql {' '.join(arguments)} failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures and name them."""
    parser = argparse.ArgumentParser(prog="python docs/pictures.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES, help="where to write (docs/images)")
    for path in draw_all(parser.parse_args(argv).folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
