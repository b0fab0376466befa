"""References to tiles: what plain xarray, zarr and fsspec read of them is what `to_xarray` reads; all else is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import RangeServer
from tests.arrays.cube_files import File, at, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path

xr = pytest.importorskip("xarray")
pytest.importorskip("zarr")
pytest.importorskip("fsspec")
codecs = pytest.importorskip("imagecodecs.numcodecs")

#: Not a multiple of the tiles, so that those at the edges are cut.
SHAPE, TILE = (72, 84), 32


@pytest.fixture(scope="module", autouse=True)
def _codecs() -> None:
    codecs.register_codecs(verbose=False)


def opened(path: Any, **options: Any) -> Any:
    """Open references as their readers do."""
    return xr.open_dataset(
        "reference://",
        engine="zarr",
        backend_kwargs={"storage_options": {"fo": str(path)}, "consolidated": False},
        **{"mask_and_scale": False, "decode_coords": "all"} | options,
    )


def files(options: dict[str, Any], dtype: str = "uint16", count: int = 2) -> list[File]:
    return [
        File(
            f"item{number}", asset, noise(10 * number + place, SHAPE, dtype), when=1 + number,
            options={"tile": TILE, "overviews": (2,), **options},
        )
        for number in range(count)
        for place, asset in enumerate(("red", "nir"))
    ]  # fmt: skip


def assert_same(found: Any, expected: Any) -> None:
    xr.testing.assert_equal(found.load(), expected)
    for name in expected.variables:
        assert {**found[name].attrs, **found[name].encoding}.items() >= {
            key: value for key, value in expected[name].attrs.items() if key != "_FillValue"
        }.items()
        assert found[name].dtype == expected[name].dtype or expected[name].dtype.kind == "O"
    for name in expected:
        fill = expected[name].attrs.get("_FillValue")
        np.testing.assert_equal(found[name].attrs.get("_FillValue"), fill)


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd", "lzw"])
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("uint8", {"predictor": False}),
        ("uint16", {"predictor": 2, "nodata": 0}),
        ("int32", {"predictor": 2, "scales": [0.5], "offsets": [2.0]}),
        ("float32", {"predictor": 3, "nodata": float("nan")}),
        ("float64", {"predictor": 2, "nodata": -9999.0}),
        ("int16", {"predictor": False, "byte_order": "big"}),
    ],
)
def test_references_are_read_as_what_to_xarray_reads(
    tmp_path: Path, compression: Any, dtype: str, options: dict[str, Any]
) -> None:
    if compression == "none":
        options = options | {"predictor": False}
    index = make_index(tmp_path, files({"compression": compression, **options}, dtype))
    assert_same(opened(rs.to_kerchunk(index, tmp_path / "cube.json")), rs.to_xarray(index))


def test_overviews_bands_and_periods_are_chosen(tmp_path: Path) -> None:
    index = make_index(tmp_path, files({"nodata": 0}, count=3))
    chosen = {"bands": ["nir"], "datetime": "2024-01-02/2024-01-03", "level": 1}
    assert_same(opened(rs.to_kerchunk(index, tmp_path / "cube.json", **chosen)), rs.to_xarray(index, **chosen))


def test_physical_values_are_those_that_xarray_decodes(tmp_path: Path) -> None:
    index = make_index(tmp_path, files({"nodata": 0, "scales": [0.5], "offsets": [2.0]}))
    found = opened(rs.to_kerchunk(index, tmp_path / "cube.json"), mask_and_scale=True)
    np.testing.assert_allclose(found.red, rs.to_xarray(index, mask_and_scale=True).red, rtol=1e-6)


@pytest.mark.parametrize("nodata", [None, 0, 7])
def test_sparse_tiles_are_nodata_or_zero(tmp_path: Path, nodata: Any) -> None:
    pixels = np.where(np.arange(SHAPE[1]) < 40, noise(1, SHAPE), nodata or 0).astype("uint16")
    index = make_index(tmp_path, [File("a", "red", pixels, options={"nodata": nodata, "sparse": True})])
    path = rs.to_kerchunk(index, tmp_path / "cube.json")
    assert len([key for key in json.loads(path.read_text())["refs"] if key.startswith("red/0.")]) == 6
    assert_same(opened(path), rs.to_xarray(index))


def test_planar_bands_and_files_side_by_side_are_one_array_each(tmp_path: Path) -> None:
    planar = File("a", "all", np.stack([noise(1), noise(2)]), options={"planar": True, "band_names": ["one", "two"]})
    index = make_index(tmp_path / "planar", [planar])
    assert_same(opened(rs.to_kerchunk(index, tmp_path / "planar.json")), rs.to_xarray(index))
    beside = [
        File("a", "red", noise(1), when=1, options={"nodata": 0}),
        File("b", "red", noise(2), when=2, options={"nodata": 0, "transform": at(600_640, 1_400_320)}),
    ]
    index = make_index(tmp_path / "beside", beside)
    assert rs.to_xarray(index).red.shape == (2, 96, 128)
    assert_same(opened(rs.to_kerchunk(index, tmp_path / "beside.json")), rs.to_xarray(index))


def test_references_to_a_server_are_read_without_this_package_and_hold_no_secret(tmp_path: Path) -> None:
    with RangeServer(tmp_path) as server:
        index = make_index(tmp_path, files({"nodata": 0}, count=1), server.url("").rstrip("/"))
        signed = f"SELECT * REPLACE (href || '?sig=secret' AS href) FROM '{index}'"
        path = rs.to_kerchunk(signed, tmp_path / "cube.json")
        expected = rs.to_xarray(index)
        assert "secret" not in path.read_text()
        code = (
            "import sys; sys.modules['rasteret_sql'] = None\n"
            "import xarray as xr, imagecodecs.numcodecs as codecs; codecs.register_codecs(verbose=False)\n"
            "remote = {'remote_protocol': 'http', 'remote_options': {'asynchronous': True}}\n"
            "options = {'storage_options': {'fo': sys.argv[1], **remote}, 'consolidated': False}\n"
            "found = xr.open_dataset('reference://', engine='zarr', mask_and_scale=False, backend_kwargs=options)\n"
            "print(int(found.red[0, 40:60].astype('int64').sum()), int(found.nir.astype('int64').sum()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, timeout=600
        )
    sums = int(expected.red[0, 40:60].astype("int64").sum()), int(expected.nir.astype("int64").sum())
    assert done.stdout.split() == [str(number) for number in sums], done.stderr


def one(**options: Any) -> list[File]:
    """A file that one option makes odd."""
    data = options.pop("data", noise(1, SHAPE))
    return [File("odd", "red", data, mask=options.pop("mask", None), options={"tile": TILE, **options})]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (one(mask=noise(2, SHAPE) > 2000), "a mask"),
        (one(data=noise(1, (3, *SHAPE), "uint8"), compression="webp"), "compression webp"),
        (one(data=noise(1, (2, *SHAPE))), "2 samples in each tile"),
        (one(data=noise(1, SHAPE, "uint8") % 4, bits_per_sample=2), "2 bits per sample"),
        (one(predictor=2, byte_order="big"), "big-endian"),
        (one(rows_per_strip=16), "strips"),
        ([*one(), File("b", "red", noise(2, SHAPE), when=2, options={"tile": 48})], "one format"),
        ([*one(nodata=0), File("b", "red", noise(2, SHAPE), when=2, options={"tile": TILE, "nodata": 1})], "nodata"),
        ([*one(), File("b", "red", noise(2, SHAPE), when=2, options={"tile": TILE, "transform": at(600_050)})], "edges"),
        ([*one(), File("b", "red", noise(2, SHAPE), when=2, options={"tile": TILE, "transform": at(size=20)})], "grid"),
        ([*one(), File("b", "red", noise(2, SHAPE), when=2, options={"tile": TILE, "transform": at(600_003)})], "grid"),
    ],
)  # fmt: skip
def test_what_a_virtual_zarr_cannot_express_is_refused_by_name(tmp_path: Path, odd: list[File], message: str) -> None:
    index = make_index(tmp_path, odd)
    with pytest.raises(InvalidArgumentError, match=message):
        rs.to_kerchunk(index, tmp_path / "cube.json")
    assert not (tmp_path / "cube.json").exists()
    assert not list(tmp_path.glob("*.part"))


def test_other_paths_are_refused_before_anything_is_planned(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="json"):
        rs.to_kerchunk("nowhere.parquet", tmp_path / "cube.zarr")
