"""`rasteret-sql chips` writes what the function of the same name gives."""

import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs


@pytest.mark.parametrize("condition", [None, "nir > 2000"])
@pytest.mark.parametrize("least", [None, 0.5])
def test_windows_are_written_as_parquet(run, index, tmp_path, least, condition):
    words = ["--size", "32,40", "--stride", "16", "--bands", "red", "--edges", "keep", "--level", "1"]
    words += [] if least is None else ["--where-valid", str(least)]
    words += [] if condition is None else ["--valid-where", condition]
    outcome = run("chips", index, *words, "-o", tmp_path / "o.parquet")
    assert outcome.code == 0, outcome.err
    found = pq.read_table(tmp_path / "o.parquet")
    expected = rs.chips(
        index,
        size=(32, 40),
        stride=16,
        bands=["red"],
        edges="keep",
        level=1,
        where_valid=least,
        valid_where=condition,
    ).read_all()
    assert len(found) > 0
    assert found.schema.names == expected.schema.names
    for name in set(found.schema.names) - {"footprint"}:
        assert found[name].to_pylist() == expected[name].to_pylist()
    assert found["footprint"].null_count == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "x"], "expected pixels such as 256"),
        (["--size", "0"], "--size: got"),
        (["--size", "8", "--edges", "pad"], "invalid choice"),
        (["--size", "8", "--where-valid", "2"], "--where-valid: got"),
        ([], "--size"),
    ],
)
def test_wrong_windows_are_named_as_options(run, index, words, message):
    outcome = run("chips", index, *words)
    assert outcome.code == 2
    assert message in outcome.err
