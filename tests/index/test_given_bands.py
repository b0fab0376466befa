"""Scale, offset and nodata of bands that a build is given, in place of those of headers and of STAC."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

_OPTIONS: dict[str, Any] = {"tile": 32, "overviews": (), "crs": "EPSG:32643"}


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """STAC items of three assets: `visual` has three bands, and `red` says something of itself in its header."""
    data = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    write_cog(tmp_path / "red.tif", data, scales=[0.5], offsets=[1.0], nodata=7, **_OPTIONS)
    write_cog(tmp_path / "nir.tif", data, **_OPTIONS)
    write_cog(tmp_path / "visual.tif", np.stack([data] * 3), **_OPTIONS)
    described = {"raster:bands": [{"scale": 0.25, "nodata": 3}]}
    assets = {
        "red": {"href": "red.tif"},
        "nir": {"href": "nir.tif"} | described,
        "visual": {"href": "visual.tif", "eo:bands": [{"name": "B1"}, {"name": "B2"}, {"name": "B3"}]},
    }
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "links": [],
        "properties": {"datetime": "2024-01-01T00:00:00Z"},
        "assets": {key: asset | {"type": "image/tiff"} for key, asset in assets.items()},
    }  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return tmp_path / "items.json"


def _bands(index: Path) -> dict[str, tuple[Any, ...]]:
    """(scale, offset, nodata) of each band by the name that reads give it."""
    with rs.connect() as con:
        rows = con.execute(
            "SELECT asset, len(bands), unnest(bands, recursive := true) FROM read_parquet($1) ORDER BY ALL",
            [str(index)],
        ).fetchall()
        names = [name for name, *_ in con.description]
    found = {}
    for row in rows:
        band = dict(zip(names, row, strict=True))
        name = band["asset"] if row[1] == 1 else f"{band['asset']}:{band['name']}"
        found[name] = band["scale"], band["offset"], band["nodata"]
    return found


_GIVEN: dict[str, Any] = {
    "scales": {"red": 0.0001, "visual:B2": 2.0, "visual:3": 3.0},
    "offsets": {"*": -0.1, "nir": 5},
    "nodata": {"nir": 0},
}
_EXPECTED = {
    "red": (0.0001, -0.1, 7.0), "nir": (0.25, 5.0, 0.0),
    "visual:B1": (None, -0.1, None), "visual:B2": (2.0, -0.1, None), "visual:B3": (3.0, -0.1, None),
}  # fmt: skip


def test_a_build_writes_the_values_that_it_is_given(items: Path) -> None:
    index = items.with_name("i.parquet")
    rs.build_index(items, index, **_GIVEN)
    assert _bands(index) == _EXPECTED
    array = rs.to_numpy(index, bands=["nir"], mask_and_scale=True)
    stored = np.arange(32 * 32).reshape(32, 32)
    np.testing.assert_allclose(array.data[0, 0][stored > 0], (stored * 0.25 + 5)[stored > 0])
    assert array.mask[0, 0].sum() == stored.size - 1


def test_a_refresh_keeps_them_also_for_files_that_changed(items: Path) -> None:
    index = items.with_name("i.parquet")
    rs.build_index(items, index, **_GIVEN)
    write_cog(items.with_name("nir.tif"), np.ones((32, 32), np.uint16), **_OPTIONS)
    report = rs.refresh(index)
    assert (report.changed, report.kept) == (1, 2)
    assert _bands(index) == _EXPECTED


def test_read_headers_and_so_a_definition_takes_them(items: Path) -> None:
    index = items.with_name("i.parquet")
    definition = items.with_name("d.sql")
    call = (
        "read_headers(found, scales := {'red': 0.0001, 'visual:B2': 2, 'visual:3': 3}, "
        "offsets := MAP {'*': -0.1, 'nir': 5}, nodata := {'nir': 0})"
    )
    definition.write_text(
        f"-- name: d\n-- kind: index\n-- grain: one row per asset\nWITH found AS (FROM stac_items('{items}'))\nFROM {call}\n"
    )
    rs.build_index(definition, index)
    assert _bands(index) == _EXPECTED
    definition.write_text(definition.read_text().replace("'red': 0.0001", "'rot': 0.0001"))
    with pytest.raises(
        BuildError, match="scales: got band 'rot', which no item has as a TIFF; expected some of nir, red"
    ):
        rs.build_index(definition, index)
    with pytest.raises(
        InvalidArgumentError, match=r"got scales=0\.1 with an index definition.*give it to read_headers in its SELECT"
    ):
        rs.build_index(definition, index, scales=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scales": {"rot": 0.1}},
            "scales: got band 'rot', which no item has as a TIFF; expected some of nir, red, visual",
        ),
        ({"nodata": {"rot": 0}}, "nodata: got band 'rot', which no item has"),
    ],
)
def test_bands_that_no_item_has_are_refused_before_headers_are_read(
    items: Path, given: dict[str, Any], message: str
) -> None:
    items.with_name("nir.tif").unlink()
    with pytest.raises(BuildError, match=message):
        rs.build_index(items, items.with_name("i.parquet"), **given)
    assert not items.with_name("i.parquet").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scales": {"visual:B4": 0.1}},
            r"scale: got band 'visual:B4', expected one of visual:B1, visual:B2, visual:B3",
        ),
        (
            {"nodata": {"visual": -1}},
            r'nodata: got -1 for band "visual:B1", expected a value that uint16 pixels can have',
        ),
    ],
)
def test_values_that_a_file_cannot_have_fail_for_that_file(items: Path, given: dict[str, Any], message: str) -> None:
    report = rs.build_index(items, items.with_name("i.parquet"), **given)
    assert report.rows == 2
    (failure,) = report.failures
    assert failure.asset == "visual"
    assert message in failure.message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": 0}, "scales: got 0, expected a number other than 0"),
        ({"offsets": {"red": "x"}}, "offsets: got"),
        ({"nodata": "x"}, "nodata: got 'x'"),
    ],
)
def test_values_that_are_no_numbers_are_refused(items: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rs.build_index(items, items.with_name("i.parquet"), **given)


def test_the_command_line_has_them(items: Path) -> None:
    index = items.with_name("i.parquet")
    command = [sys.executable, "-m", "rasteret_sql", "build", str(items), "-o", str(index)]
    options = ["--scale", "red=0.0001,visual:B2=2,visual:3=3", "--offsets", "*=-0.1,nir=5", "--nodata", "nir=0"]
    subprocess.run([*command, *options], check=True, timeout=600, capture_output=True, stdin=subprocess.DEVNULL)
    assert _bands(index) == _EXPECTED
