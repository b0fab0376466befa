"""`rasteret-sql shard` and `rasteret-sql read`: a read in pieces, each run as often as one likes."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs


@pytest.fixture
def folder(run, index, tmp_path):
    outcome = run("shard", index, "-n", "3", "--bands", "red,nir", "-o", tmp_path / "shards", "--json")
    assert outcome.code == 0, outcome.err
    return tmp_path / "shards"


def test_all_pieces_have_the_rows_of_one_read(run, index, folder, tmp_path):
    (tmp_path / "out").mkdir()
    pieces = sorted(folder.iterdir())
    assert [piece.name for piece in pieces] == ["00000", "00001", "00002"]
    outcome = run("read", *reversed(pieces), "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    tables = [pq.read_table(path).replace_schema_metadata(None) for path in sorted((tmp_path / "out").iterdir())]
    assert pa.concat_tables(tables).equals(rs.read_tiles(index, bands=["red", "nir"]).read_all())


def test_a_second_run_keeps_what_is_there_and_makes_what_is_missing(run, index, folder, tmp_path):
    (tmp_path / "out").mkdir()
    pieces = sorted(folder.iterdir())
    assert run("read", *pieces, "-o", tmp_path / "out").code == 0
    lost = tmp_path / "out" / "00001.parquet"
    data = lost.read_bytes()
    lost.unlink()
    (tmp_path / "out" / ".00001.parquet.7.partial").write_bytes(data[:100])
    pieces[2].unlink()
    again = run("shard", index, "-n", "3", "--bands", "red,nir", "-o", folder, "--json")
    assert json.loads(again.out)["kept"] == 2
    report = json.loads(run("read", *pieces, "-o", tmp_path / "out", "--json").out)
    assert [row["is_kept"] for row in report] == [True, False, True]
    assert pq.read_table(lost).equals(pq.read_table(pa.BufferReader(data)))


def test_columns_and_one_file(run, folder, tmp_path):
    outcome = run("read", folder / "00001", "--columns", "item_id,tile_row", "-o", tmp_path / "o.parquet")
    assert outcome.code == 0, outcome.err
    found = pq.read_table(tmp_path / "o.parquet")
    assert found.column_names == ["item_id", "tile_row"]
    assert len(found) == rs.Shard.open(folder / "00001").tile_count


def test_chips_of_a_file_make_shards(run, index, tmp_path):
    assert run("chips", index, "--size", "64", "--bands", "red", "-o", tmp_path / "c.parquet").code == 0
    words = ["-n", "2", "--bands", "red", "--chips", tmp_path / "c.parquet", "-o", tmp_path / "shards"]
    assert run("shard", index, *words).code == 0
    chips = [rs.Shard.open(path).chips() for path in sorted((tmp_path / "shards").iterdir())]
    assert sum(len(found.data) for found in chips) == pq.read_metadata(tmp_path / "c.parquet").num_rows


def test_windows_of_a_size_make_shards_whose_chips_are_tensors(run, index, tmp_path):
    words = ["-n", "2", "--bands", "red,nir", "--size", "64", "--stride", "32,64", "-o", tmp_path / "shards"]
    outcome = run("shard", index, *words)
    assert outcome.code == 0, outcome.err
    (tmp_path / "out").mkdir()
    pieces = sorted((tmp_path / "shards").iterdir())
    for kept in (False, True):
        report = json.loads(run("read", *pieces, "-o", tmp_path / "out", "--json").out)
        assert [row["is_kept"] for row in report] == [kept] * len(pieces)
    table = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "out").iterdir()))
    windows = rs.chips(index, size=64, stride=(32, 64), bands=["red", "nir"]).read_all()
    wanted = rs.read_chips(index, windows, bands=["red", "nir"])
    order = table["chip"].to_pylist()
    assert sorted(order) == list(range(len(windows)))
    assert (table["pixels"].combine_chunks().to_numpy_ndarray() == wanted.data[order]).all()
    assert (table["mask"].combine_chunks().to_numpy_ndarray() == wanted.mask[order]).all()
    outcome = run("read", pieces[0], "--tiles", "--columns", "item_id", "-o", tmp_path / "tiles.parquet")
    assert outcome.code == 0, outcome.err
    assert pq.read_metadata(tmp_path / "tiles.parquet").num_rows == rs.Shard.open(pieces[0]).tile_count


def test_shards_of_another_plan_are_not_mixed(run, index, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = run("shard", index, "-n", "3", "--bands", "red", "-o", folder)
    assert outcome.code == 2
    assert "is no shard of this plan" in outcome.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_files_with_other_rows_are_not_taken_for_these(run, folder, tmp_path):
    out = tmp_path / "o.parquet"
    assert run("read", folder / "00000", "-o", out).code == 0
    for words in ([folder / "00001"], [folder / "00000", "--columns", "item_id"]):
        outcome = run("read", *words, "-o", out)
        assert outcome.code == 2
        assert "rows of another shard, or other columns" in outcome.err
    (tmp_path / "text").write_text("text")
    assert "text, which this command did not write" in run("read", folder / "00000", "-o", tmp_path / "text").err


def test_a_shard_that_is_not_there_is_named_as_one(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("shards/99999", "http://127.0.0.1:9/99999"):
        outcome = run("read", address, "-o", "o.parquet")
        assert outcome.code == 1
        assert outcome.err.startswith(f"rasteret-sql: shard {address}: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", "0", "-o", "x"], "-n: got 0, expected a number of shards"),
        (["-n", "2", "-o", "absent/x"], "--output: got absent/x, expected a folder in one that exists"),
        (["-n", "2", "-o", "x", "--chips", "absent.parquet"], "--chips: got absent.parquet"),
        (["-n", "2", "-o", "x", "--bands", "nothing"], "nothing"),
        (["-n", "2", "-o", "x", "--stride", "8"], "--stride: got it without "),
        (["-n", "2", "-o", "x", "--size", "0"], "--size: got (0, 0), expected pixels"),
    ],
)
def test_wrong_options_of_shard_are_named(run, index, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    outcome = run("shard", index, *words)
    assert outcome.code in {1, 2}
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_shard_is_named(run, index, folder, tmp_path):
    (tmp_path / "cut").write_bytes((folder / "00000").read_bytes()[:200])
    for path, message in ((tmp_path / "cut", "truncated or damaged"), (index, "expected those of a shard")):
        outcome = run("read", path, "-o", tmp_path / "o.parquet")
        assert outcome.code == 1
        assert f"shard {path}: " in outcome.err
        assert message in outcome.err
    outcome = run("read", folder / "00000", folder / "00001", "-o", tmp_path / "o.parquet")
    assert outcome.code == 2
    assert "for 2 shards, expected a folder" in outcome.err
    assert not (tmp_path / "o.parquet").exists()
