"""Shards: the same rows, pixels and requests as one read, and whatever their bytes are, a named error."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.plan.tile_plan import TilePlan
from rasteret_sql.sql.batches import schema_of, tile_schema
from rasteret_sql.sql.shard_bytes import MAGIC, MAX_BYTES, decode, encode
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PREFIX = struct.Struct("<8sQI")
PLACE: dict[str, Any] = {"crs": "EPSG:32643"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    """Items of all kinds of masks, on a server that records requests, and their index."""
    folder = tmp_path_factory.mktemp("shards")
    rows = []
    with RangeServer(folder) as server:
        for number in range(6):
            place = PLACE | {"transform": (10.0, 0.0, 600_000.0 + 2_000.0 * number, 0.0, -10.0, 1_400_000.0)}
            pixels = np.random.default_rng(number).integers(1, 5000, (150 + 30 * number, 200), np.uint16)
            image = (pixels % 251).astype(np.uint8)
            mask = np.ones(image.shape, bool)
            mask[:30, :30] = False
            write_cog(folder / f"i{number}_red.tif", pixels, tile=64, overviews=(2,), nodata=0, **place)
            write_cog(
                folder / f"i{number}_rgb.tif", np.stack([image, image + 1, image + 2]), mask,
                tile=64, overviews=(2,), planar=number % 2 == 1, photometric="rgb", **place,
            )  # fmt: skip
            write_cog(
                folder / f"i{number}_rgba.tif", np.stack([image, image, image, mask.astype(np.uint8) * 255]),
                tile=64, planar=number % 2 == 0, photometric="rgb", alpha=True, **place,
            )  # fmt: skip
            when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
            rows += [
                {"href": server.url(f"i{number}_{asset}.tif"), "item_id": f"i{number}", "asset": asset,
                 "collection": "c", "datetime": when}
                for asset in ("red", "rgb", "rgba")
            ]  # fmt: skip
        index = folder / "index.parquet"
        with rs.set_options(allow=["*"]):
            assert rs.build_index(pa.Table.from_pylist(rows), index).rows == 18
        yield server, index


@pytest.fixture(scope="module")
def index(served: tuple[RangeServer, Path]) -> Path:
    return served[1]


def _sent(shards: list[rs.Shard]) -> list[rs.Shard]:
    """Give shards as another process has them."""
    return [rs.Shard.from_bytes(shard.to_bytes()) for shard in shards]


def _requests(server: RangeServer, read: Callable[[], Any]) -> list[Any]:
    server.reset()
    read()
    return sorted((request.path, request.start, request.end) for request in server.requests)


READS: dict[str, dict[str, Any]] = {
    "everything": {},
    "one band": {"bands": ["red"]},
    "masked bands": {"bands": ["rgb:1", "rgb:3", "rgba:2"]},
    "an overview": {"bands": ["red", "rgb"], "level": 1},
    "an area": {"bbox": (600_300.0, 1_398_900.0, 604_000.0, 1_399_800.0), "geometry_crs": "EPSG:32643"},
    "scales": {"bands": ["red"], "scales": 0.5, "offsets": {"red": -1}},
}


@pytest.mark.parametrize("name", READS)
def test_a_plan_comes_back_from_its_bytes_to_the_last_column(index: Path, name: str) -> None:
    for shard in rs.shards(index, 3, **READS[name]):
        plan, back = shard._plan, decode(shard.to_bytes())
        assert back.plan.assets == plan.plan.assets
        for column in TilePlan.__dataclass_fields__:
            if column in {"assets", "mask_tiles", "mask_first"}:
                continue
            np.testing.assert_array_equal(getattr(back.plan, column), getattr(plan.plan, column), err_msg=column)
        assert encode(back) == shard.to_bytes()
        assert (back.number, back.count, back.plan_hash) == (shard.number, shard.shard_count, shard.plan_hash)


@settings(max_examples=12)
@given(st.data())
def test_shards_in_any_order_give_the_rows_of_one_read(served: tuple[RangeServer, Path], data: st.DataObject) -> None:
    _, index = served
    arguments = READS[data.draw(st.sampled_from(sorted(READS)))]
    shards = _sent(rs.shards(index, data.draw(st.integers(1, 25)), **arguments))
    order = data.draw(st.permutations(range(len(shards))))
    found = {number: shards[number].read_tiles().read_all() for number in order}
    assert pa.concat_tables([found[number] for number in range(len(shards))]).equals(
        rs.read_tiles(index, **arguments).read_all()
    )


@pytest.mark.parametrize("name", READS)
def test_all_shards_together_send_the_requests_of_one_read(served: tuple[RangeServer, Path], name: str) -> None:
    server, index = served
    one = _requests(server, lambda: rs.read_tiles(index, **READS[name]).read_all())
    shards = _sent(rs.shards(index, 4, **READS[name]))
    assert _requests(server, lambda: [shard.read_tiles().read_all() for shard in reversed(shards)]) == one
    assert one


def test_planning_and_columns_without_pixels_fetch_nothing(served: tuple[RangeServer, Path]) -> None:
    server, index = served

    def read() -> None:
        shards = _sent(rs.shards(index, 4))
        names = ["item_id", "tile_row", "bounds"]
        tables = [shard.read_tiles(columns=names).read_all() for shard in shards]
        assert sum(map(len, tables)) == sum(shard.tile_count for shard in shards)
        assert tables[0].column_names == names

    assert _requests(server, read) == []


def test_a_limit_gives_the_first_rows_and_fetches_no_others(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    (shard,) = rs.shards(index, 1, bands=["red"])
    whole = shard.read_tiles().read_all()
    everything = _requests(server, lambda: shard.read_tiles().read_all())
    found: list[pa.Table] = []
    some = _requests(server, lambda: found.append(shard.read_tiles(limit=3).read_all()))
    assert found[0].equals(whole.slice(0, 3))
    assert len(some) == 1 < len(everything)


def test_shards_are_the_same_each_time_and_their_hash_tells_plans_apart(index: Path) -> None:
    one, two = (rs.shards(index, 5, bands=["red"]) for _ in range(2))
    assert [shard.to_bytes() for shard in one] == [shard.to_bytes() for shard in two]
    assert [shard.name for shard in one] == ["00000", "00001", "00002", "00003", "00004"]
    assert len({shard.plan_hash for shard in one}) == 1
    assert rs.shards(index, 5, bands=["red"], level=1)[0].plan_hash != one[0].plan_hash
    assert rs.shards(index, 2, bands=["red"])[0].plan_hash == one[0].plan_hash


def test_bytes_are_balanced_and_a_tile_takes_few_bytes(index: Path) -> None:
    shards = rs.shards(index, 6)
    largest_file = max(shard.nbytes for shard in rs.shards(index, 1000))
    assert max(shard.nbytes for shard in shards) - min(shard.nbytes for shard in shards) <= 2 * largest_file
    assert sum(shard.nbytes for shard in shards) == rs.shards(index, 1)[0].nbytes
    assert sum(shard.decoded_nbytes for shard in shards) == sum(
        (row["pixels"] or 0) + (row["mask"] or 0)
        for row in rs.connect()
        .sql(f"SELECT octet_length(pixels) AS pixels, octet_length(mask) AS mask FROM read_tiles('{index}')")
        .to_arrow_table()
        .to_pylist()
    )


def test_a_shard_is_read_without_the_index_and_without_duckdb(index: Path, tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(rs.shards(index, 2, bands=["rgb"])[1].to_bytes())
    code = (
        "import sys, rasteret_sql as rs\n"
        f"shard = rs.Shard.open({str(tmp_path / 'shard')!r})\n"
        "table = shard.read_tiles().read_all()\n"
        "assert len(table) == shard.tile_count > 0 and table['error'].null_count == len(table)\n"
        "assert 'duckdb' not in sys.modules, 'duckdb was imported'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr


def test_the_columns_that_need_no_duckdb_are_those_of_duckdb() -> None:
    with own_connection() as con:
        schema = schema_of(con, "tiles")
    assert tile_schema() == pa.schema([field for field in schema if field.name != "_call"])


def test_secrets_of_hrefs_are_not_in_shards(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", np.ones((64, 64), np.uint8), tile=64)
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    con = rs.connect()
    rows = con.sql(
        f"SELECT * REPLACE ('https://me:pw@example.com/a.tif?sig=hidden&v=1' AS href) FROM '{tmp_path}/i.parquet'"
    )
    (shard,) = rs.shards(rows, 1)
    (href,) = shard.read_tiles(columns=["href"]).read_all()["href"].to_pylist()
    assert href == "https://example.com/a.tif?v=1"
    assert [asset.address for asset in decode(shard.to_bytes()).plan.assets] == [href]


def test_paths_are_absolute_so_that_workers_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_cog(tmp_path / "a.tif", np.ones((64, 64), np.uint8), tile=64)
    rs.build_index("a.tif", "i.parquet")
    (shard,) = rs.shards("i.parquet", 1)
    monkeypatch.chdir("/")
    assert len(shard.read_tiles().read_all()) == 1


CHIPS = [(f"i{number % 5}", 11 * number - 20, 7 * number) for number in range(20)]


def test_chips_of_shards_are_those_of_one_read(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    wanted = rs.read_chips(index, CHIPS, size=50, bands=["red"])
    shards = [
        pickle.loads(pickle.dumps(shard)) for shard in rs.shards(index, 3, chips=CHIPS, chip_size=50, bands=["red"])
    ]
    numbers = []
    for shard in shards:
        found, table = shard.chips(), shard.chip_table()
        mine = table["chip"].to_pylist()
        np.testing.assert_array_equal(found.data, wanted.data[mine])
        np.testing.assert_array_equal(found.mask, wanted.mask[mine])
        assert (found.bands, found.nodata) == (wanted.bands, wanted.nodata)
        rows = zip(*(table[name].to_pylist() for name in ("item_id", "row_off", "col_off")), strict=True)
        assert list(rows) == [CHIPS[number] for number in mine]
        numbers += mine
    assert sorted(numbers) == list(range(len(CHIPS)))
    assert len(shards) == 3
    one = _requests(server, lambda: rs.read_chips(index, CHIPS, size=50, bands=["red"]))
    assert _requests(server, lambda: [shard.chips() for shard in shards]) == one


@pytest.mark.parametrize("chips", [[("i0", 0, 0), ("i1", -500, -500)], [("i1", -500, -500)]])
def test_chips_beside_the_image_are_in_shards_too(index: Path, chips: list[Any]) -> None:
    wanted = rs.read_chips(index, chips, size=8, bands=["red"])
    (shard,) = _sent(rs.shards(index, 1, chips=chips, chip_size=8, bands=["red"]))
    np.testing.assert_array_equal(shard.chips().data, wanted.data)
    pieces = [number for piece in shard.split(2) for number in piece.chip_table()["chip"].to_pylist()]
    assert sorted(pieces) == list(range(len(chips)))


def test_a_table_of_chips_makes_shards_too(index: Path) -> None:
    table = rs.chips(index, size=64, bands=["red"]).read_all()
    shards = rs.shards(index, 4, chips=table, bands=["red"])
    assert sum(len(shard.chip_table()) for shard in shards) == len(table)
    wanted = rs.read_chips(index, table, bands=["red"])
    np.testing.assert_array_equal(shards[0].chips().data, wanted.data[shards[0].chip_table()["chip"].to_pylist()])


@pytest.mark.parametrize("arguments", [{}, {"chips": CHIPS, "chip_size": 50}])
def test_a_shard_is_split_as_a_read_is_cut(index: Path, arguments: dict[str, Any]) -> None:
    (whole,) = rs.shards(index, 1, bands=["red"], **arguments)
    cut = rs.shards(index, 4, bands=["red"], **arguments)
    assert [piece.to_bytes() for piece in _sent([whole])[0].split(4)] == [shard.to_bytes() for shard in cut]


def test_shards_in_sql_are_those_of_python_and_their_rows_those_of_one_read(
    served: tuple[RangeServer, Path], tmp_path: Path
) -> None:
    server, index = served
    con = rs.connect()
    call = f"shards('{index}', 3, bands := ['red', 'rgb'])"
    rows = con.execute(f"SELECT name, files, tiles, bytes, plan_hash, shard FROM {call} ORDER BY number").fetchall()
    assert rows == [
        (shard.name, shard.file_count, shard.tile_count, shard.nbytes, shard.plan_hash, shard.to_bytes())
        for shard in rs.shards(index, 3, bands=["red", "rgb"])
    ]
    expected = con.sql(f"FROM read_tiles('{index}', bands := ['red', 'rgb'])").to_arrow_table()
    tables = [con.sql("FROM read_shard($1)", params=[row[-1]]).to_arrow_table() for row in rows]
    assert pa.concat_tables(tables).equals(expected)
    (tmp_path / "00001").write_bytes(rows[1][-1])
    few = f"SELECT item_id, tile_col FROM read_shard('{tmp_path}/00001') WHERE tile_row = 1"
    wanted = tables[1].filter(pc.field("tile_row") == 1).select(["item_id", "tile_col"])
    assert _requests(server, lambda: con.execute(few).fetchall()) == []
    assert con.sql(few).to_arrow_table().equals(wanted)


@pytest.mark.parametrize(
    ("sql", "match"),
    [
        ("FROM shards('{index}', 0)", "n: got 0"),
        ("FROM shards('{index}', 1.5)", "n: got 1.5"),
        ("FROM shards('{index}', NULL)", "n: got NULL, expected a number of shards"),
        ("FROM shards('{index}', 2, bands := ['nothing'])", "nothing"),
        ("FROM read_shard(NULL)", "shard: got NULL"),
        ("FROM read_shard('x'::BLOB)", "shard: got 1 bytes that begin with"),
        (
            "FROM read_shard('absent')",
            r"shard absent: there is no such file; expected a file of `rasteret-sql shard`\.",
        ),
        ("FROM read_shard('{index}')", "expected those of a shard"),
        ("FROM read_shard('{index}', on_error := 'skip')", "on_error: got 'skip'"),
    ],
)
def test_wrong_arguments_in_sql_are_refused_by_name(index: Path, sql: str, match: str) -> None:
    con = rs.connect()
    with pytest.raises(duckdb.Error, match=match):
        con.execute(sql.format(index=index)).fetchall()


def test_a_dask_data_frame_has_the_rows_of_one_read_and_sends_its_requests(served: tuple[RangeServer, Path]) -> None:
    pytest.importorskip("dask.dataframe")
    server, index = served
    expected: list[pa.Table] = []
    one = _requests(server, lambda: expected.append(rs.read_tiles(index, bands=["rgb"]).read_all()))
    frame = rs.to_dask(index, bands=["rgb"], npartitions=3)
    assert frame.npartitions == 3
    found: list[Any] = []
    assert _requests(server, lambda: found.append(frame.compute(scheduler="threads"))) == one
    assert pa.Table.from_pandas(found[0], expected[0].schema, preserve_index=False).equals(expected[0])
    names = rs.to_dask(index, columns=["item_id", "tile_row"])
    assert _requests(server, lambda: names.compute(scheduler="synchronous")) == []
    sent = pickle.loads(pickle.dumps(frame))
    assert len(sent.compute(scheduler="synchronous")) == len(expected[0])
    with pytest.raises(InvalidArgumentError, match="chips: got some for a table of tiles"):
        rs.to_dask(index, chips=CHIPS, chip_size=8)


def test_a_condition_leaves_tiles_and_files_out(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    (shard,) = rs.shards(index, 1)
    kept = shard.where((pc.field("item_id") == "i2") & (pc.field("tile_row") < 1) & (pc.field("asset") == "red"))
    server.reset()
    found = kept.read_tiles().read_all()
    assert {request.path for request in server.requests} == {"i2_red.tif"}
    con = rs.connect()
    expected = con.sql(f"FROM read_tiles('{index}') WHERE item_id = 'i2' AND tile_row < 1 AND asset = 'red'")
    assert found["pixels"].to_pylist() == expected.to_arrow_table()["pixels"].to_pylist()
    for condition in (pc.field("nothing") == 1, "text", pc.field("pixels") == b""):
        with pytest.raises(InvalidArgumentError, match="condition: got"):
            shard.where(condition)


def test_a_limit_of_chips_gives_the_first_ones(index: Path) -> None:
    (shard,) = rs.shards(index, 1, bands=["red"], chips=CHIPS, chip_size=50)
    np.testing.assert_array_equal(shard.chips(limit=3).data, shard.chips().data[:3])


def test_files_of_one_address_are_in_one_shard(index: Path) -> None:
    con = rs.connect()
    again = con.sql(
        f"FROM '{index}' WHERE asset = 'red' UNION ALL SELECT * REPLACE ('z' || item_id AS item_id) FROM '{index}' WHERE asset = 'red'"
    )
    shards = rs.shards(again, 100)
    assert len(shards) == 6
    assert {shard.file_count for shard in shards} == {2}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n": 0}, "n: got 0, expected a number of shards, 1 to"),
        ({"n": 2.5}, "n: got 2.5"),
        ({"n": 1, "chip_size": 4}, "chip_size: got 4 without chips"),
        ({"n": 1, "chips": CHIPS}, "chip_size: got None"),
        ({"n": 1, "chips": CHIPS, "chip_size": 4, "bbox": (0, 0, 1, 1)}, "bbox: got it with chips"),
        ({"n": 1, "chips": [("nowhere", 0, 0)], "chip_size": 4, "bands": ["red"]}, "item 'nowhere' has no band red"),
        ({"n": 1, "crs": "EPSG:32643"}, "crs: got 'EPSG:32643' as the CRS of an area"),
    ],
)
def test_wrong_arguments_are_refused_by_name(index: Path, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        rs.shards(index, **arguments)


def test_wrong_arguments_of_a_shard_are_refused_by_name(index: Path) -> None:
    (shard,) = rs.shards(index, 1, bands=["red"])
    for arguments, match in (
        ({"columns": ["nothing"]}, r"columns: got \['nothing'\], expected some of collection"),
        ({"columns": []}, r"columns: got \[\]"),
        ({"limit": -1}, "limit: got -1"),
        ({"on_error": "skip"}, "on_error: got 'skip'"),
    ):
        with pytest.raises(InvalidArgumentError, match=match):
            shard.read_tiles(**arguments)
    with pytest.raises(InvalidArgumentError, match=r"shard 00000: got one of tiles, expected one that shards\(chips="):
        shard.chips()


# --- bytes of somebody else ---


def _opened(data: bytes) -> tuple[dict[str, Any], list[pa.Table]]:
    """Give the header and the tables of a shard."""
    _, size, _ = PREFIX.unpack_from(data)
    reader = pa.BufferReader(pa.Codec("zstd").decompress(data[PREFIX.size :], size))
    tables = [pa.ipc.open_stream(reader).read_all() for _ in range(4)]
    return json.loads(tables[0].schema.metadata[b"rasteret_sql.shard"]), tables


def _packed(header: Any, tables: list[pa.Table], options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    sink = pa.BufferOutputStream()
    for number, table in enumerate(tables):
        written = table.replace_schema_metadata({b"rasteret_sql.shard": text} if number == 0 else None)
        with pa.ipc.new_stream(sink, written.schema, options=options) as writer:
            writer.write_table(written)
    return _framed(sink.getvalue().to_pybytes())


def _framed(payload: bytes) -> bytes:
    packed = pa.Codec("zstd").compress(payload, asbytes=True)
    return PREFIX.pack(MAGIC, len(payload), zlib.crc32(payload)) + packed


def _with(tables: list[pa.Table], number: int, name: str, values: Any) -> list[pa.Table]:
    table = tables[number]
    column = pa.array(values) if not isinstance(values, pa.Array) else values
    changed = table.set_column(table.column_names.index(name), name, column)
    return [*tables[:number], changed, *tables[number + 1 :]]


def _ints(table: pa.Table, name: str, value: int) -> list[int]:
    return [value, *table[name].to_pylist()[1:]]


@pytest.fixture(scope="module")
def good(index: Path) -> bytes:
    return rs.shards(index, 2, bands=["red", "rgb"])[0].to_bytes()


@pytest.fixture(scope="module")
def good_chips(index: Path) -> bytes:
    return rs.shards(index, 2, bands=["red"], chips=CHIPS, chip_size=50)[0].to_bytes()


#: Values of a header, by the path to them.
HEADERS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "another version": (("version",), 2),
    "a version that is no number": (("version",), "1"),
    "a number beyond the count": (("number",), 10**30),
    "kinds that are no list": (("kinds",), {}),
    "a kind that is no object": (("kinds", 0), 7),
    "a format that is none": (("kinds", 0, "format"), []),
    "a huge tile": (("kinds", 0, "format", "tile_width"), 2**40),
    "a tile of no pixels": (("kinds", 0, "format", "tile_height"), 0),
    "a dtype of objects": (("kinds", 0, "format", "dtype"), "object"),
    "a dtype that is code": (("kinds", 0, "format", "dtype"), "__import__('os').system('true')"),
    "many bits": (("kinds", 0, "format", "bits_per_sample"), 10**9),
    "a byte order": (("kinds", 0, "format", "byte_order"), "middle"),
    "tables of JPEG that are no base64": (("kinds", 0, "format", "jpeg_tables"), "%%%"),
    "a band beyond the samples": (("kinds", 0, "bands", 0, "band"), 99),
    "a band without a name": (("kinds", 0, "bands", 0, "name"), None),
    "no bands": (("kinds", 0, "bands"), []),
    "an alpha band": (("kinds", 0, "alpha_band"), 99),
    "a CRS that is a number": (("crs",), [7]),
    "origins that are no texts": (("origins",), [None]),
    "chips of no size": (("chip_size",), ["a", "b"]),
    "chips of a huge size": (("chip_size",), [2**40, 1]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_somebody_else_is_refused_by_name(good: bytes, good_chips: bytes, name: str) -> None:
    header, tables = _opened(good_chips if "chips" in name else good)
    path, value = HEADERS[name]
    parent: Any = header
    for step in path[:-1]:
        parent = parent[step]
    assert path[-1] in parent or isinstance(parent, list)
    parent[path[-1]] = value
    with pytest.raises(InvalidArgumentError, match=r"^shard: .*(expected|got)"):
        rs.Shard.from_bytes(_packed(header, tables))


@pytest.mark.parametrize("key", ["version", "number", "plan_hash", "kinds", "crs", "chip_size", "origins"])
def test_a_header_without_a_key_is_refused(good: bytes, key: str) -> None:
    header, tables = _opened(good)
    del header[key]
    with pytest.raises(InvalidArgumentError, match=f"^shard: .*{key}"):
        rs.Shard.from_bytes(_packed(header, tables))


#: A table, its column, and the first value or the column in its place.
COLUMNS: dict[str, tuple[int, str, Any]] = {
    "a file that is not there": (1, "file", 10**6),
    "a file below 0": (1, "file", -1),
    "a band that is not read": (1, "band", 3),
    "a row of tiles below the image": (1, "tile_row", 10**6),
    "a row of tiles above the image": (1, "tile_row", -1),
    "a column of tiles beside the image": (1, "tile_col", 10**6),
    "a tile behind the file": (1, "gap", 2**62),
    "a tile before the file": (1, "gap", -(2**62)),
    "bytes below 0": (1, "nbytes", -5),
    "more bytes than the file": (1, "nbytes", 2**62),
    "a mask behind the file": (2, "offset", 2**62),
    "bytes of a mask below 0": (2, "nbytes", -1),
    "an image of no pixels": (0, "width", 0),
    "a huge image": (0, "height", 2**40),
    "a kind that is not there": (0, "kind", 99),
    "a CRS that is not there": (0, "crs", -2),
    "a window outside the image": (0, "row_end", 2**30),
    "a file of a size below 0": (0, "file_size", -1),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_somebody_else_are_refused_by_name(good: bytes, name: str) -> None:
    header, tables = _opened(good)
    number, column, value = COLUMNS[name]
    changed = _with(tables, number, column, pa.array(_ints(tables[number], column, value), pa.int64()))
    with pytest.raises(InvalidArgumentError, match=r"^shard: .*expected .*make the shard again"):
        rs.Shard.from_bytes(_packed(header, changed))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["texts", "floats", "NULL", "missing"])
def test_columns_of_other_types_are_refused_by_name(good_chips: bytes, number: int, kind: str) -> None:
    header, tables = _opened(good_chips)
    for name in tables[number].column_names:
        count = len(tables[number])
        if kind == "missing":
            changed = [*tables[:number], tables[number].drop_columns([name]), *tables[number + 1 :]]
        else:
            values = {"texts": ["x"] * count, "floats": [0.5] * count, "NULL": [None] * count}[kind]
            column = pa.array(values, {"texts": pa.string(), "floats": pa.float64(), "NULL": pa.null()}[kind])
            if column.type == tables[number][name].type:
                continue
            changed = _with(tables, number, name, column)
        with pytest.raises(InvalidArgumentError, match=r"^shard: "):
            rs.Shard.from_bytes(_packed(header, changed))


def test_chips_that_need_more_tiles_than_there_are_are_refused(good_chips: bytes) -> None:
    header, tables = _opened(good_chips)
    with pytest.raises(InvalidArgumentError, match="chips: those of item i0 touch more tiles"):
        rs.Shard.from_bytes(_packed(header | {"chip_size": [10**9, 10**9]}, tables))
    with pytest.raises(InvalidArgumentError, match="chips: item 'z' has no file"):
        rs.Shard.from_bytes(_packed(header, _with(tables, 3, "item_id", ["z"] * len(tables[3]))))
    moved = rs.Shard.from_bytes(_packed(header, _with(tables, 3, "row_off", [100] * len(tables[3]))))
    with pytest.raises(InvalidArgumentError, match=r"it lacks \d+ tiles of its chips"):
        moved.chips()


def test_masks_that_would_need_more_memory_than_there_is_are_refused(good: bytes) -> None:
    header, tables = _opened(good)
    for kind in header["kinds"]:
        if kind["mask_format"] is not None:
            kind["mask_format"] |= {"tile_width": 1, "tile_height": 1}
            kind["format"] |= {"tile_width": 2**30, "tile_height": 2**30}
    wide = _with(_with(tables, 0, "width", [2**30] * len(tables[0])), 0, "height", [2**30] * len(tables[0]))
    zeros = [0] * len(tables[1])
    with pytest.raises(InvalidArgumentError, match=r"mask tiles: got \d+, expected \d+ or more"):
        rs.Shard.from_bytes(_packed(header, _with(_with(wide, 1, "tile_row", zeros), 1, "tile_col", zeros)))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "got 0 bytes that begin with b''"),
        (b"PAR1" * 20, "expected those of a shard, which begin with b'RSTSHARD'"),
        (PREFIX.pack(MAGIC, 2**63, 0), f"it claims {2**63} bytes, expected {MAX_BYTES} at most"),
        (PREFIX.pack(MAGIC, 100, 0) + b"no Zstandard", "truncated or damaged"),
        (_framed(b""), "got 0 Arrow streams, expected 4|damaged"),
        (_framed(b"no Arrow at all"), "cannot be read"),
        (pickle.dumps(7), "expected those of a shard"),
        ("text", "got str, expected bytes of a shard"),
        (None, "got NoneType"),
        (np.zeros((2, 2))[:, 0], "got ndarray"),
    ],
)
def test_bytes_that_are_no_shard_are_refused(data: Any, match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        rs.Shard.from_bytes(data)


def test_headers_that_are_no_json_are_refused(good: bytes) -> None:
    _, tables = _opened(good)
    for text in (b"{", b"[]", b"\xff", b"[" * 100_000, b"7", b'{"version": NaN}'):
        with pytest.raises(InvalidArgumentError, match=r"^shard: "):
            rs.Shard.from_bytes(_packed(text, tables))


def test_arrow_that_is_compressed_again_is_refused_before_it_is_decompressed(good: bytes) -> None:
    header, tables = _opened(good)
    bomb = [*tables[:3], pa.table({"chip": np.zeros(10**6, np.int64)})]
    with pytest.raises(InvalidArgumentError, match="compressed once more"):
        rs.Shard.from_bytes(_packed(header, bomb, pa.ipc.IpcWriteOptions(compression="zstd")))


@settings(max_examples=150)
@given(st.data())
def test_bytes_that_are_cut_or_flipped_are_refused_or_mean_the_same(good: bytes, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        broken = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        place = data.draw(st.integers(0, len(good) - 1))
        broken = bytearray(good)
        broken[place] ^= data.draw(st.integers(1, 255))
    try:
        shard = rs.Shard.from_bytes(bytes(broken))
    except InvalidArgumentError:
        return
    # Some bits of a Zstandard frame mean nothing.
    assert shard.to_bytes() == good


@settings(max_examples=150)
@given(st.data())
def test_payloads_that_are_flipped_are_read_or_refused(good: bytes, data: st.DataObject) -> None:
    """The checksum is right, as a stranger makes it."""
    _, size, _ = PREFIX.unpack_from(good)
    payload = bytearray(pa.Codec("zstd").decompress(good[PREFIX.size :], size))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, size - 1))] ^= data.draw(st.integers(1, 255))
    try:
        shard = rs.Shard.from_bytes(_framed(bytes(payload)))
    except InvalidArgumentError:
        pass
    else:
        assert shard.read_tiles(columns=["item_id", "width"]).read_all().num_rows == shard.tile_count


def test_a_shard_from_the_network_names_public_addresses_and_its_own_server(index: Path, tmp_path: Path) -> None:
    data = rs.shards(index, 1)[0].to_bytes()
    with pytest.raises(AccessDeniedError, match=r"shard https://example.com/00000: .*a document from the network"):
        rs.Shard.from_bytes(data, source="https://example.com/00000")
    with rs.set_options(allow=["*"]):
        rs.Shard.from_bytes(data, source="https://example.com/00000")
    rs.Shard.from_bytes(data, source=tmp_path / "00000")


def test_a_shard_keeps_the_rules_of_an_index_from_the_network(served: tuple[RangeServer, Path]) -> None:
    """A worker checks what the planner would have checked."""
    server, index = served
    own = server.url("index.parquet")
    # The text of a query tells where its rows come from; DuckDB's extension for HTTP is not everywhere.
    shards = rs.shards(f"SELECT * FROM '{index}' WHERE '{own}' <> ''", 2)
    assert decode(shards[0].to_bytes()).origins == (own,)
    assert _sent(shards)[0].read_tiles().read_all().num_rows == shards[0].tile_count
    header, tables = _opened(shards[0].to_bytes())
    other = _packed(header | {"origins": ["https://example.com/index.parquet"]}, tables)
    with pytest.raises(AccessDeniedError, match="a document from the network may name"):
        rs.Shard.from_bytes(other)
