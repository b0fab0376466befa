"""A column of a user may have any name: each function gives the same whatever the further columns of an index are called.

Every word of this project's SQL is the name of a column here, so an alias that a column could hide is found.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.database.schema import index_columns
from rasteret_sql.testing import write_cog

ROOT = Path(__file__).parents[1]
#: Words of SQL files, and of SQL in Python modules: names of a letter and more.
_WORD = re.compile(r"[A-Za-z_]\w*")
_SQL_IN_PYTHON = re.compile(
    r'"""(?:(?!""").)*?\b(?:SELECT|FROM)\b.*?"""|f?"[^"\n]*\b(?:SELECT|FROM|WHERE|AS|JOIN) [^"\n]*"', re.DOTALL
)
AREA = (77.9, 12.6, 78.2, 12.7)


def words() -> list[str]:
    """Every name in the project's SQL that may be a column of a user, each once in any case."""
    texts = [re.sub(r"--.*", "", path.read_text(encoding="utf-8")) for path in (ROOT / "sql").rglob("*.sql")]
    for package in ("sql", "index", "database", "integrations", "output", "arrays", "training"):
        for path in (ROOT / "rasteret_sql" / package).rglob("*.py"):
            texts += [found[0] for found in _SQL_IN_PYTHON.finditer(path.read_text(encoding="utf-8"))]
    found = {word.lower() for text in texts for word in _WORD.findall(text)}
    # The reserved prefix; what describes the assets of a source; and names that builds prefix with "properties:".
    own = set(index_columns()) | {"title", "media_type", "roles", "proj", "band_lists", "item_no", "asset_no"}
    names = found | set("abcdefghijklmnopqrstuvwxyz")
    return sorted(name for name in names - own if not name.startswith(("rst", "_rst")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    for number, asset in enumerate(("red", "nir")):
        data = np.random.default_rng(number).integers(1, 9, (256, 256)).astype(np.uint16)
        write_cog(
            folder / f"{asset}.tif", data, tile=64, overviews=(2,), nodata=0.0, crs="EPSG:32644",
            transform=(10.0, 0.0, 2e5, 0.0, -10.0, 1.4e6),
        )  # fmt: skip
    plain = {
        "href": [str(folder / "red.tif"), str(folder / "nir.tif")], "item_id": ["i", "i"], "asset": ["red", "nir"],
        "datetime": pa.array([1_704_067_200_000_000] * 2, pa.timestamp("us", "UTC")),
    }  # fmt: skip
    rs.build_index(pa.table(plain), folder / "plain.parquet")
    named = {word: ["text", "text"] for word in words()}
    rs.build_index(pa.table(plain | named), folder / "named.parquet")
    return folder


def test_every_word_became_a_column(folder):
    with rs.connect() as con:
        columns = set(con.sql(f"FROM '{folder / 'named.parquet'}'").columns)
    assert len(words()) > 300
    renamed = {"assets", "files", "file_bytes"}
    assert set(words()) - renamed <= columns
    assert {f"properties:{name}" for name in renamed} <= columns


def test_aliases_that_a_column_could_hide_have_the_reserved_prefix():
    # A column hides a parameter of a lambda, where a field of it is taken.
    for path in (ROOT / "sql").rglob("*.sql"):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        for name in re.findall(r"\blambda\s+(\w+)\s*:", text):
            assert name.startswith(("rst_", "utm_")), f"{path.name}: lambda {name}"


QUERIES = {
    "explain_read": "FROM explain_read('INDEX', bands := ['red', 'nir'], bbox := [77.9, 12.0, 79.0, 13.0])",
    "tile_plan": "SELECT item_id, asset, tile_row, tile_col, tile_offset, request FROM tile_plan('INDEX') ORDER BY ALL",
    "items": "SELECT item_id, assets, bands, files FROM items('INDEX', datetime := '2024-01')",
    "read_tiles": "SELECT item_id, asset, band_name, tile_row, tile_col, md5(pixels) FROM read_tiles('INDEX') "
    "WHERE asset = 'red' ORDER BY ALL",
    "read_headers": "SELECT href, dtype, width FROM read_headers('INDEX') ORDER BY ALL",
    "a table": "SELECT count(*) FROM read_tiles('t')",
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_function_gives_the_same_with_any_columns(folder, name):
    results = []
    for index in ("plain", "named"):
        path = folder / f"{index}.parquet"
        with rs.connect() as con:
            con.execute(f"CREATE TABLE t AS FROM '{path}'")
            results.append(con.execute(QUERIES[name].replace("INDEX", str(path))).fetchall())
    assert results[0] == results[1]
    assert results[0]


def test_reads_of_python_give_the_same(folder):
    plain, named = (folder / f"{name}.parquet" for name in ("plain", "named"))
    for read in (
        lambda index: rs.to_numpy(index, bands=["red", "nir"]).data,
        lambda index: rs.to_numpy(f"FROM '{index}' WHERE asset = 'red'").data,
        lambda index: rs.to_xarray(index, bands=["red"]).red.values,
        lambda index: rs.picture(index, bands=["red"]).pixels,
        lambda index: rs.picture(index, bands="nir - red", where="asset <> ''").pixels,
        lambda index: rs.read_chips(index, [("i", 0, 0)], size=64, bands=["red"]).data,
        lambda index: np.array(rs.read_tiles(index).read_all().num_rows),
        lambda index: np.array([str(rs.explain(index))]),
    ):
        np.testing.assert_array_equal(read(named), read(plain))


def test_upkeep_works_with_any_columns(folder, tmp_path):
    index = tmp_path / "named.parquet"
    index.write_bytes((folder / "named.parquet").read_bytes())
    assert rs.validate(index).counts["unchanged"] == 2
    exported = rs.export(f"FROM '{index}'", tmp_path / "red.parquet", bands=["red"])
    assert exported.files[0].rows > 0


def test_a_property_may_have_the_name_of_a_band(folder):
    dataset = rs.to_xarray(folder / "named.parquet", bands=["red"])
    assert dataset.red.dims == ("time", "y", "x")
    assert dataset["properties:red"].values.tolist() == ["text"]


@pytest.mark.parametrize("name", [*"abcdefghijklmnopqrstuvwxyz", "band", "level", "row", "tile", "files", "value"])
def test_a_pattern_may_name_a_column_so(folder, tmp_path, name):
    (tmp_path / "x_1.tif").write_bytes((folder / "red.tif").read_bytes())
    rs.build_index(tmp_path / "x_1.tif", tmp_path / "i.parquet", pattern=f"{{item_id}}_{{{name}}}.tif")
    assert rs.to_numpy(tmp_path / "i.parquet").shape[0] == 1
