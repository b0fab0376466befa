"""What Python callers read with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rasteret_sql as rs
from rasteret_sql.io import stores
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_first_row_of_an_index_is_looked_at_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name in "ab":
        write_cog(tmp_path / f"{name}.tif", pixels)
        rs.build_index([str(tmp_path / f"{name}.tif")], tmp_path / f"{name}.parquet")
    looked: list[str] = []
    monkeypatch.setattr(stores, "warm_up", lambda href, *_: looked.append(href))
    for name in "abab":
        (row,) = rs.read_tiles(tmp_path / f"{name}.parquet").read_all().to_pylist()
        assert row["pixels"] == pixels.astype("<u2").tobytes()
    assert looked == [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]


def test_rows_of_a_read_are_in_the_order_of_plans_whatever_the_order_of_the_index(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("c", "a", "b"):
        # Different numbers of levels and tiles, so that a list of one row in place of another would show.
        size = 64 * (1 + "abc".index(name))
        factors = (2, 4)[: "abc".index(name)]
        pixels = rng.integers(1, 9999, (size, size), np.uint16)
        write_cog(tmp_path / f"{name}.tif", pixels, tile=32, overviews=factors)
    rs.build_index([str(tmp_path / f"{name}.tif") for name in "cab"], tmp_path / "index.parquet")
    columns = ["item_id", "tile_row", "tile_col", "pixels"]
    expected = rs.read_tiles(tmp_path / "index.parquet").read_all().select(columns)
    assert expected["item_id"].to_pylist() == ["a"] * 4 + ["b"] * 16 + ["c"] * 36
    for order in ("item_id DESC", "md5(item_id)", "file_size"):
        query = f"FROM '{tmp_path}/index.parquet' ORDER BY {order}"
        assert rs.read_tiles(query).read_all().select(columns).equals(expected)
