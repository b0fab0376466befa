"""Datasets as files: what they say, and that they open on nothing else."""

import shutil
import tomllib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.testing import RangeServer, write_collection


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a collection and its index."""
    folder = tmp_path_factory.mktemp("handoff")
    written = write_collection(folder / "collection", items=10, size=256, tile=128)
    rs.build_index(written.document, folder / "s2.parquet")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the index, which a test may change, beside the files."""
    shutil.copy(made / "s2.parquet", tmp_path / "s2.parquet")
    return tmp_path


def ids(dataset):
    return set(dataset.index.item_id)


def test_the_file_says_what_was_found_and_opens_as_the_same_dataset(folder):
    path = rs.handoff(
        folder / "train.toml",
        folder / "s2.parquet",
        sql='FROM index\nWHERE "eo:cloud_cover" < 95',
        seed=3,
        bands=["red", "nir"],
        crs="EPSG:32643",
        resolution=20,
        dtype="float64",
    )
    said = tomllib.loads(path.read_text())
    assert said["index"]["path"] == "s2.parquet"
    assert len(said["index"]["sha256"]) == 64
    assert said["query"] == {"sql": 'FROM index\nWHERE "eo:cloud_cover" < 95', "seed": 3}
    assert said["dataset"] == {"bands": ["red", "nir"], "crs": "EPSG:32643", "resolution": 20, "dtype": "float64"}
    opened = rs.from_handoff(path)
    direct = rs.to_torchgeo(
        f"FROM '{folder}/s2.parquet' WHERE \"eo:cloud_cover\" < 95",
        bands=["red", "nir"],
        crs="EPSG:32643",
        resolution=20,
    )
    assert opened.index.equals(direct.index)
    assert opened.res == (20, 20)
    assert str(opened.dtype) == "torch.float64"
    assert (opened.handoff.seed, opened.handoff.split, opened.handoff.path) == (3, None, path)
    assert (opened[0]["image"] == direct[0]["image"]).all()


def test_splits_by_condition_are_those_rows(folder):
    path = rs.handoff(
        folder / "train.toml",
        folder / "s2.parquet",
        splits={"early": "datetime < '2024-07-01'", "late": "datetime >= '2024-07-01'"},
        bands=["red"],
    )
    early, late = rs.from_handoff(path, split="early"), rs.from_handoff(path, split="late")
    assert early.index.index.right.max() < late.index.index.left.min()
    assert ids(early) | ids(late) == ids(rs.from_handoff(path))


def test_splits_by_share_do_not_overlap_and_do_not_move_when_items_come_and_go(folder):
    def write(sql, seed):
        return rs.handoff(
            folder / "train.toml",
            folder / "s2.parquet",
            sql=sql,
            splits={"train": 0.5, "test": 0.5},
            seed=seed,
            bands=["red"],
        )

    path = write("FROM index", 1)
    train, test = ids(rs.from_handoff(path, split="train")), ids(rs.from_handoff(path, split="test"))
    assert not train & test
    assert len(train | test) == 10
    fewer = write("FROM index WHERE datetime > '2024-03-01'", 1)
    assert ids(rs.from_handoff(fewer, split="train")) < train
    other = write("FROM index", 2)
    assert ids(rs.from_handoff(other, split="train")) != train


def test_a_changed_index_is_refused_whatever_changed(folder):
    path = rs.handoff(folder / "train.toml", folder / "s2.parquet", bands=["red"])
    index = folder / "s2.parquet"
    original = index.read_bytes()
    damaged = bytearray(original)
    damaged[len(damaged) // 2] ^= 1
    index.write_bytes(damaged)
    with pytest.raises(
        InvalidIndexError, match=r"s2\.parquet has changed since .*train\.toml .*sha256.*expected.*review"
    ):
        rs.from_handoff(path)
    table = pa.Table.from_batches(pq.read_table(pa.BufferReader(original)).to_batches())
    pq.write_table(table.slice(5), index)
    with pytest.raises(InvalidIndexError, match="has changed"):
        rs.from_handoff(path)
    index.unlink()
    with pytest.raises(InvalidIndexError, match=r"does not exist.*expected one Parquet file"):
        rs.from_handoff(path)
    index.write_bytes(original)
    assert len(rs.from_handoff(path)) == 10


def test_an_index_may_lie_elsewhere_if_it_is_the_same(folder, tmp_path_factory):
    path = rs.handoff(folder / "train.toml", folder / "s2.parquet", bands=["red"])
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other.parquet"
    shutil.move(folder / "s2.parquet", elsewhere)
    assert len(rs.from_handoff(path, index=elsewhere)) == 10


def test_an_index_behind_a_url_is_known_by_its_footer(folder):
    from rasteret_sql.training.fingerprint import fingerprint

    with RangeServer(folder) as server:
        remote = fingerprint(server.url("s2.parquet"))
        local = fingerprint(str(folder / "s2.parquet"))
        assert remote == {name: local[name] for name in ("nbytes", "footer_sha256")}
        assert sum(end - start for start, end in server.ranges_of("s2.parquet")) < local["nbytes"]


def test_chips_are_handed_over_too_and_follow_their_split(folder):
    dataset = rs.to_torchgeo(str(folder / "s2.parquet"), bands=["red"], crs="EPSG:32643")
    chosen = sorted(
        (item_id for item_id in ids(dataset) if "_43P" in item_id), key=lambda item_id: item_id.split("_")[2]
    )
    chips = folder / "chips.parquet"
    rows = {
        "item_id": chosen,
        "row_off": [0] * len(chosen),
        "col_off": [64] * len(chosen),
        "class": list(range(len(chosen))),
    }
    pq.write_table(pa.table(rows), chips)
    path = rs.handoff(
        folder / "train.toml",
        folder / "s2.parquet",
        sql="FROM index WHERE crs = 'EPSG:32643'",
        splits={"early": "datetime < '2024-07-01'", "late": "datetime >= '2024-07-01'"},
        bands=["red"],
        chips=chips,
        chip_size=64,
        label_column="class",
    )
    early, late = rs.from_handoff(path, split="early"), rs.from_handoff(path, split="late")
    assert list(early.index.item_id) + list(late.index.item_id) == chosen
    assert [int(late[number]["label"]) for number in range(len(late))] == list(range(len(early), len(chosen)))
    pq.write_table(pa.table(rows).slice(1), chips)
    with pytest.raises(InvalidIndexError, match=r"chips: .*chips\.parquet has changed"):
        rs.from_handoff(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sql": "FROM nowhere"}, "sql: the query does not run: .*nowhere"),
        ({"splits": {"a": "datetime <"}}, "splits: 'a': got 'datetime <', which does not run: "),
        ({"splits": {"a b": 0.5}}, "splits: got the name 'a b', expected letters"),
        ({"splits": {"a": 0.8, "b": 0.8}}, r"splits: got shares that add up to 1\.6, expected 1 at most"),
        ({"splits": {"a": 0.8, "b": "x"}}, "splits: got .*expected either conditions in SQL, or shares"),
        ({"splits": {"a": 0.0}}, "splits: got .*shares above 0"),
        ({"seed": 1.5}, "seed: got 1.5, expected a whole number"),
        ({"transforms": print}, "transforms: is no argument that a file can hold; expected some of bands"),
        ({"bands": [object()]}, "bands: got list, expected what a file can hold"),
        ({"dtype": "complex64"}, "dtype: got 'complex64', expected one of float16"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_nothing_is_written(folder, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        rs.handoff(folder / "train.toml", folder / "s2.parquet", **arguments)
    assert sorted(each.name for each in folder.iterdir()) == ["s2.parquet"]


def test_an_empty_split_is_refused(folder):
    with pytest.raises(EmptyReadError, match="splits: 'none': gives no rows of the index"):
        rs.handoff(folder / "train.toml", folder / "s2.parquet", splits={"none": "datetime > '2030-01-01'"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml at all", "is no TOML"),
        ("version = 2", "has version 2, expected 1"),
        ("version = 1\n[index]\npath = 's2.parquet'", "lacks 'query', expected"),
        ("version = 1\n[query]\nsql = 'x'\nseed = 1\n[dataset]", "lacks 'index'"),
    ],
)
def test_other_files_are_refused_by_name(folder, text, message):
    path = folder / "train.toml"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=f"train.toml {message}"):
        rs.from_handoff(path)


def test_a_missing_file_and_an_unknown_split_are_refused(folder):
    with pytest.raises(InvalidArgumentError, match=r"none\.toml cannot be read: No such file"):
        rs.from_handoff(folder / "none.toml")
    path = rs.handoff(folder / "train.toml", folder / "s2.parquet", splits={"train": 1.0}, bands=["red"])
    with pytest.raises(InvalidArgumentError, match="split: got 'val', expected one of 'train'"):
        rs.from_handoff(path, split="val")


def evil(path, old, new):
    """Change a text of a hand-off file, as somebody who sends it could."""
    text = path.read_text()
    assert old in text
    other = path.with_name("evil.toml")
    other.write_text(text.replace(old, new))
    return other


@pytest.mark.parametrize("split", ["a", None])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('a = "true"', "a = \"true)); COPY (SELECT 1) TO 'OUT'; SELECT ((true\""),
        ('a = "true"', "a = \"true) UNION ALL BY NAME (FROM read_text('OUT')\""),
        ('a = "true"', "a = \"href IN (SELECT content FROM read_text('/etc/hostname'))\""),
        ('sql = "FROM index"', "sql = \"FROM index); COPY (SELECT 1) TO 'OUT'; FROM (FROM index\""),
        ('sql = "FROM index"', "sql = \"WITH x AS (COPY (SELECT 1) TO 'OUT') FROM index\""),
        ('sql = "FROM index"', "sql = \"SELECT * REPLACE (getvariable('a') AS href) FROM index\""),
        ('chips = "SELECT', "chips = \"SELECT 1; COPY (SELECT 1) TO 'OUT'; SELECT"),
        ('chips = "SELECT', "chips = \"WITH x AS (COPY (SELECT 1) TO 'OUT') SELECT"),
        ('chips = "SELECT', "chips = \"WITH x AS (FROM read_text('/etc/hostname')) SELECT"),
    ],
)
def test_a_file_of_somebody_else_can_neither_write_nor_read_more(folder, split, old, new):
    chips = f"SELECT item_id, 0 AS row_off, 0 AS col_off FROM '{folder / 's2.parquet'}'"
    path = rs.handoff(folder / "good.toml", folder / "s2.parquet", splits={"a": "true"}, chips=chips, chip_size=8)
    out = folder / "out.csv"
    with pytest.raises(InvalidArgumentError, match=r"got .*expected one "):
        rs.from_handoff(evil(path, old, new.replace("OUT", str(out))), split=split)
    assert not out.exists()


def test_a_file_that_is_trusted_may_read_other_tables_but_not_write(folder):
    sql = f"FROM index WHERE item_id IN (SELECT item_id FROM '{folder / 's2.parquet'}')"
    path = rs.handoff(folder / "joined.toml", folder / "s2.parquet", sql=sql, bands=["red"])
    with pytest.raises(InvalidArgumentError, match=r"with the table or file .*pass trust=True"):
        rs.from_handoff(path)
    assert len(rs.from_handoff(path, trust=True))
    written = evil(path, sql, f"WITH x AS (COPY (SELECT 1) TO '{folder / 'out.csv'}') FROM index")
    with pytest.raises(InvalidArgumentError, match="expected one "):
        rs.from_handoff(written, trust=True)
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "version = true", "has version True, expected 1"),
        ("version = 1", "version = 1.0", "has version 1.0, expected 1"),
        ("version = 1", "version = 1\nversoin = 1", "got 'versoin', expected one of index, query"),
        ("version = 1", "version = 1\nchips = 3", "chips: got 3, expected a table"),
        ("[dataset]", "[[dataset]]", "dataset: got .*, expected a table"),
        ("seed = 0", "seed = inf", "query.seed: got inf, expected a whole number"),
        ("seed = 0", "seed = true", "query.seed: got True, expected a whole number"),
        ("seed = 0", "seed = 1.5", "query.seed: got 1.5, expected a whole number"),
        ("seed = 0", f"seed = {10**30}", "query.seed: got 10{30}, expected a whole number of 64 bits"),
        ('sql = "FROM index"', "sql = 3", "query.sql: got 3, expected text"),
        (
            'sql = "FROM index"',
            "sql = 'FROM index WHERE nope = 1'",
            'x.toml: splits: .* Referenced column "nope" not found',
        ),
        ("footer_sha256", "footer_sha_256", "index: got 'footer_sha_256', expected one of path, nbytes"),
        ("nbytes = ", "nbytes = 'x' # ", "index.nbytes: got 'x', expected a whole number"),
        ("a = ", "a = 'nope = 1' # ", "x.toml: splits: 'a': .* Referenced column \"nope\" not found"),
        ("a = ", "a = nan # ", "x.toml: splits: got .*nan.*, expected either conditions"),
        ("a = ", "a = 3 # ", "x.toml: splits: got .*3.*, expected either conditions"),
        ("[dataset]", "[dataset]\nbands = 3 # ", "bands: got 3, expected names such as"),
        ("[dataset]", "[dataset]\nresolution = '10' # ", "resolution: got '10', expected a number above 0"),
        ("[dataset]", "[dataset]\nfill = 'abc' # ", "fill: got 'abc', expected a number"),
        ("[dataset]", "[dataset]\nchips = 3 # ", "chips: got int, expected what a file can hold"),
        ("[dataset]", "[dataset]\nchips = ['a'] # ", "chips: got list, expected what a file can hold"),
        ("[dataset]", "[dataset]\nchips = 'SELECT 1 AS a' # ", "chips: got columns a, expected geometry"),
    ],
)
def test_every_value_of_a_file_is_checked_and_no_sql_of_our_own_is_shown(folder, old, new, message):
    rs.handoff(folder / "a.toml", folder / "s2.parquet", splits={"a": "item_id IS NOT NULL"}, is_image=True)
    text = (folder / "a.toml").read_text()
    assert old in text
    (folder / "x.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        rs.from_handoff(folder / "x.toml", split="a")
    assert "many_files" not in str(caught.value)


def test_chips_that_are_no_table_are_refused_before_and_after_they_are_handed_over(folder):
    with pytest.raises(
        InvalidArgumentError, match="chips: got 'FROM nobody', which cannot be read: Table with name nobody"
    ):
        rs.handoff(folder / "a.toml", folder / "s2.parquet", chips="FROM nobody")
    rs.handoff(folder / "a.toml", folder / "s2.parquet", is_image=True)
    text = (folder / "a.toml").read_text()
    (folder / "x.toml").write_text(text.replace("[dataset]", "[dataset]\nchips = 'FROM nobody'"))
    with pytest.raises(
        InvalidArgumentError, match="chips: got 'FROM nobody', which cannot be read: Table with name nobody"
    ):
        rs.from_handoff(folder / "x.toml", trust=True)


def test_what_was_opened_is_said_in_a_line(tmp_path):
    from rasteret_sql.training.handoff import Handoff

    query = "FROM index WHERE " + " AND ".join(f"c{number} = 1" for number in range(99))
    shown = repr(Handoff(tmp_path / "train.toml", "s2.parquet", query, "train", 7))
    assert shown == "<Handoff train.toml: split 'train', seed 7, of 's2.parquet'>"
    assert "all rows" in repr(Handoff(tmp_path / "train.toml", "s2.parquet", query, None, 7))
