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
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from rasteret_sql.apps.main import main as run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGES = Path(__file__).resolve().parent / "images"
_QUALITY = 80


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture into a folder, as WebP."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        demo = Path(temporary) / "demo"
        with contextlib.redirect_stdout(io.StringIO()):
            if run_command(["demo", str(demo), "--json"]) != 0:
                raise RuntimeError("the demo failed")
        images = {"ndvi": imagecodecs.png_decode((demo / "ndvi.png").read_bytes())}
    paths = []
    for name, pixels in images.items():
        path = folder / f"{name}.webp"
        opaque = np.ascontiguousarray(pixels[..., :3])
        path.write_bytes(imagecodecs.webp_encode(opaque, level=_QUALITY, lossless=False))
        paths.append(path)
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures and name them."""
    parser = argparse.ArgumentParser(prog="python docs/pictures.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES, help="where to write (docs/images)")
    for path in draw_all(parser.parse_args(argv).folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
