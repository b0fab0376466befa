"""The pictures of README and documents are those that their script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
_PICTURE = re.compile(r"!\[(?P<alternative>[^\]]*)\]\((?P<path>[^)\s]+)\)")


@pytest.fixture
def script(monkeypatch):
    """The script, which imports its neighbours as it does when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_draws_the_pictures_that_are_there(script, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert script.main([str(tmp_path)]) == 0
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in IMAGES.iterdir()}
    assert len(capsys.readouterr().out.splitlines()) == len(drawn)
    for name in drawn:
        now, before = (imagecodecs.webp_decode((folder / name).read_bytes()) for folder in (tmp_path, IMAGES))
        # Fonts differ between versions of matplotlib; what is shown does not.
        assert np.abs(np.subtract(now.shape, before.shape)).max() <= 0.02 * max(before.shape), name
        height, width = (min(sizes) for sizes in zip(now.shape[:2], before.shape[:2], strict=True))
        differs = np.abs(now[:height, :width].astype(int) - before[:height, :width])
        assert differs.mean() < 6, name


def test_every_picture_is_shown_and_described():
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for found in _PICTURE.finditer(page.read_text(encoding="utf-8")):
            path = (page.parent / found["path"]).resolve()
            assert path.is_file(), f"{page.name}: {found['path']}"
            assert len(found["alternative"]) > 20, f"{page.name}: {found['path']} has no description"
            shown.add(path.name)
    assert shown >= {path.name for path in IMAGES.iterdir()}


def test_pictures_are_light():
    for path in IMAGES.iterdir():
        assert path.stat().st_size < 250_000, path.name
