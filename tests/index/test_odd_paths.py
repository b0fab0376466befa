"""Paths that DuckDB would take for globs, and files that an index must not replace."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, make_index, noise


@pytest.mark.parametrize("name", ["run[1]", "a?b", "a*b", "[", "x[a-z]"])
def test_a_folder_with_characters_of_globs_is_itself(tmp_path, name):
    decoys = {"run[1]": "run1", "a?b": "axb", "a*b": "axxb", "[": "(", "x[a-z]": "xb"}
    odd, decoy = tmp_path / name, tmp_path / decoys[name]
    odd.mkdir()
    decoy.mkdir()
    ours, theirs = noise(1), noise(2)
    make_index(decoy, [File("d", "red", theirs)])
    index = make_index(odd, [File("a", "red", ours)])
    assert np.array_equal(rs.to_numpy(index).data[0, 0], ours)
    assert rs.read_tiles(index).read_all()["item_id"].unique().to_pylist() == ["a"]
    with rs.connect() as con:
        rows = con.execute("SELECT DISTINCT item_id FROM read_tiles($1)", [str(index)]).fetchall()
    assert rows == [("a",)]
    own = odd / "own.parquet"
    rs.build_index(odd / "a_red.tif", own)
    assert rs.refresh(own).kept == 1


@pytest.mark.parametrize("content", [b"II*\x00", b"plain text", b"PAR1"])
def test_a_build_replaces_no_file_that_is_no_index(tmp_path, content):
    index = make_index(tmp_path, [File("a", "red", noise(1))])
    tiff = tmp_path / "a_red.tif"
    other = tmp_path / "other.parquet"
    other.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="is a file and no index"):
        rs.build_index(tiff, other)
    assert other.read_bytes() == content
    with pytest.raises(InvalidArgumentError, match="is a file and no index"):
        rs.build_index(tiff, tiff)
    rs.build_index(tiff, index)


def test_a_table_of_files_is_not_replaced_by_its_index(tmp_path):
    make_index(tmp_path, [File("a", "red", noise(1))])
    table = tmp_path / "files.parquet"
    with rs.connect() as con:
        con.execute(f"COPY (SELECT '{tmp_path / 'a_red.tif'}' AS href) TO '{table}'")
    before = table.read_bytes()
    with pytest.raises(InvalidArgumentError, match="is a file and no index"):
        rs.build_index(table, table)
    assert table.read_bytes() == before


def test_tiles_are_not_exported_onto_the_file_that_they_come_from(tmp_path):
    index = make_index(tmp_path, [File("a", "red", noise(1))])
    tiff = tmp_path / "a_red.tif"
    shutil.copy(tiff, tmp_path / "copy.tif")
    with rs.connect() as con:
        tiles = con.sql(f"FROM read_tiles('{index}') WHERE tile_row = 0").to_arrow_table()
    with pytest.raises(InvalidArgumentError, match="which is read for it"):
        rs.export(tiles, tiff)
    assert tiff.read_bytes() == (tmp_path / "copy.tif").read_bytes()
