"""No exception of another library leaves the package, whichever door it would go through.

Each public function gets values of every kind for each of its arguments, found by introspection; then faults in every
layer below: stores, decoders, memory, rows of the index. What is raised is a RasteretError that says what is wrong.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import itertools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main, parser
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.io.local import LocalStore
from rasteret_sql.io.options import names as option_names
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.tiff.decode import TileDecoder

if TYPE_CHECKING:
    from collections.abc import Callable


class _Rude:
    """An object that says that it has what it does not have."""

    @property
    def __geo_interface__(self) -> Any:
        raise RuntimeError("no geometry")

    def to_wkt(self) -> str:
        raise RuntimeError("no WKT")


class _Unspeakable:
    """An object that has no text."""

    def __repr__(self) -> str:
        raise RuntimeError("no representation")

    __str__ = __repr__


class _Textless:
    """An object that gives a number as its text."""

    def __repr__(self) -> Any:
        return 7

    __str__ = __repr__


#: Values of every kind; each is wrong for most arguments, and right for some.
VALUES: dict[str, Any] = {
    "nothing": None,
    "an object": object(),
    "a rude object": _Rude(),
    "text": "bad text",
    "empty text": "",
    "text with NUL": "a\0b",
    "no Unicode": "\ud800",
    "bytes": b"\x00\x01",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "below 0": -1,
    "beyond 64 bits": 10**30,
    "nearly 0": 1e-300,
    "an empty list": [],
    "a list of None": [None],
    "a mapping of numbers": {1: 2},
    "four NaN": (float("nan"),) * 4,
    "four huge numbers": (-1e308, -1e308, 1e308, 1e308),
    "a size in metres": (10**12, 10**12),
    "an array": np.zeros((2, 2)),
    "a date": dt.date(2024, 1, 1),
    "a table": pa.table({"a": [1]}),
    "a broken geometry": {"type": "Polygon", "coordinates": [[[1]]]},
    "an unknown CRS": "EPSG:999999",
    "another query": "SELECT 1",
    "an object without a text": _Unspeakable(),
    "a list of objects without a text": [_Unspeakable()],
    "a mapping to objects without a text": {"red": _Unspeakable()},
    "a mapping of objects without a text": {_Unspeakable(): "red"},
    "an object whose text is none": _Textless(),
}
#: What users call back is theirs, and so are its exceptions.
CALLBACKS = {"progress", "transforms"}
GRID = {"crs": "EPSG:32643", "resolution": 20.0}


def _lazy(index: Any, **options: Any) -> Any:
    return rs.to_xarray(index, **({"chunks": {}} | options)).compute(scheduler="synchronous")


def _all_tiles(index: Any, **options: Any) -> pa.Table:
    return rs.read_tiles(index, **options).read_all()


def _all_of_dask(index: Any, **options: Any) -> Any:
    return rs.to_dask(index, **options).compute(scheduler="synchronous")


def _all_shards(index: Any, n: Any, **options: Any) -> list[pa.Table]:
    return [shard.read_tiles().read_all() for shard in rs.shards(index, n, **options)]


def _all_shard_chips(index: Any, n: Any, **options: Any) -> list[Any]:
    return [shard.chips() for shard in rs.shards(index, n, **{"chips": [("i0", 0, 0)], "chip_size": 4} | options)]


def _all_samples(index: Any, points: Any, **options: Any) -> pa.Table:
    return rs.sample_points(index, points, **options).read_all()


def _all_pixels(index: Any, **options: Any) -> pa.Table:
    return rs.read_pixels(index, **options).read_all()


def _all_chips(index: Any, **options: Any) -> pa.Table:
    return rs.chips(index, **options).read_all()


def _all_blocks(dataset: Any, **options: Any) -> list[Any]:
    return list(rs.block_sampler(rs.to_torchgeo(dataset) if isinstance(dataset, Path) else dataset, **options))


def _all_parts(dataset: Any, shares: Any, **options: Any) -> dict[str, Any]:
    return rs.split_blocks(rs.to_torchgeo(dataset) if isinstance(dataset, Path) else dataset, shares, **options)


def _connected(**options: Any) -> None:
    rs.connect(**options).close()


def _all_zones(index: Any, zones: Any, **options: Any) -> pa.Table:
    return rs.zonal_stats(index, zones, **options).read_all()


def _doors(folder: Path) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]]:
    """Give, by name, what is called, the function whose arguments it takes, and arguments that work."""
    index: dict[str, Any] = {"index": folder / "i.parquet"}
    shard = rs.shards(folder / "i.parquet", 1)[0].to_bytes() if folder.exists() else b""
    doors: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
        "to_numpy": (rs.to_numpy, rs.to_numpy, index),
        "to_numpy onto a grid": (rs.to_numpy, rs.to_numpy, index | GRID),
        "to_xarray": (rs.to_xarray, rs.to_xarray, index),
        "to_xarray with Dask": (_lazy, rs.to_xarray, index),
        "read_chips": (rs.read_chips, rs.read_chips, index | {"chips": [("i0", 0, 0)], "size": 4}),
        "read_tiles": (_all_tiles, rs.read_tiles, index),
        "to_geopandas": (
            rs.to_geopandas, rs.to_geopandas,
            index | {"geometries": ["POINT (600050 1399950)"], "geometry_crs": "EPSG:32643"},
        ),
        "sample_points": (
            _all_samples, rs.sample_points, index | {"points": ["POINT (600050 1399950)"], "geometry_crs": "EPSG:32643"}
        ),
        "read_shards": (_all_shards, rs.shards, index | {"n": 2}),
        "read_shards of chips": (
            _all_shard_chips, rs.shards, index | {"n": 2, "chips": [("i0", 0, 0), ("i1", 4, 4)], "chip_size": 4}
        ),
        "read_shards of Dask": (_all_of_dask, rs.to_dask, index),
        "shard bytes": (rs.Shard.from_bytes, rs.Shard.from_bytes, {"data": shard}),
        "read_pixels": (_all_pixels, rs.read_pixels, index),
        "chips": (_all_chips, rs.chips, index | {"size": 4}),
        "zonal_stats": (
            _all_zones, rs.zonal_stats,
            index | {"zones": ["POINT (600050 1399950)"], "geometry_crs": "EPSG:32643", "stats": ["mean", "median"]},
        ),
        "to_torchgeo": (rs.to_torchgeo, rs.to_torchgeo, index),
        "explain": (rs.explain, rs.explain, index),
        "picture": (rs.picture, rs.picture, index | {"size": 16}),
        "plot_footprints": (rs.plot_footprints, rs.plot_footprints, index),
        "build_index": (rs.build_index, rs.build_index, {"source": f"{folder}/*.tif", "path": folder / "b.parquet"}),
        "build_stats": (rs.build_stats, rs.build_stats, index | {"output": folder / "s.parquet"}),
        "refresh": (rs.refresh, rs.refresh, {"index": folder / "r.parquet"}),
        "validate": (rs.validate, rs.validate, index),
        "handoff": (rs.handoff, rs.handoff, index | {"path": folder / "h.toml", "sql": "FROM index"}),
        "from_handoff": (rs.from_handoff, rs.from_handoff, {"path": folder / "given.toml"}),
        "stac_search": (rs.stac_search, rs.stac_search, {"api": "http://127.0.0.1:9"}),
        "datasets": (rs.datasets, rs.datasets, {}),
        "connect": (_connected, rs.connect, {"database": folder / "d.duckdb"}),
        "install": (rs.install, rs.install, {"con": duckdb}),
        "plot_rgb": (rs.plot_rgb, rs.plot_rgb, {"ds": rs.to_xarray(folder / "i.parquet"), "bands": ["red"] * 3} if folder.exists() else {}),
        "split_blocks": (
            _all_parts, rs.split_blocks, {"dataset": folder / "i.parquet", "shares": {"a": 1.0}, "block_m": 100.0}
        ),
        "block_sampler": (_all_blocks, rs.block_sampler, {"dataset": folder / "i.parquet"}),
    }  # fmt: skip
    for suffix in (".tif", ".zarr", ".nc", ".parquet"):
        path = folder / f"o-{{item}}{suffix}" if suffix == ".tif" else folder / f"o{suffix}"
        doors[f"export to {suffix}"] = rs.export, rs.export, index | {"path": path}
    return doors


DOORS = sorted(_doors(Path("x")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doors")
    rows = []
    for number in range(2):
        path = folder / f"i{number}_red.tif"
        pixels = np.arange(1, 1025, dtype="uint16").reshape(32, 32)
        write_cog(path, pixels, tile=16, nodata=0, transform=(10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0))
        when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
        rows.append({"href": str(path), "item_id": f"i{number}", "asset": "red", "collection": "c", "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    rs.build_index(str(folder / "*.tif"), folder / "r.parquet")
    rs.handoff(folder / "given.toml", folder / "i.parquet", sql="FROM index")
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are paths make files here; rows of figures are not kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")


def _require_message(error: RasteretError) -> None:
    message = str(error)
    assert len(message) > 10, repr(error)
    assert re.search(r"got|expected|not|no |must|cannot|which|already|could|leave|lacks|is a|are ", message), message


#: Doors that need TorchGeo.
OF_TRAINING = {"block_sampler", "from_handoff", "split_blocks", "to_torchgeo"}


@pytest.mark.parametrize("door", DOORS)
def test_every_value_of_every_argument_is_taken_or_refused_by_name(folder: Path, door: str) -> None:
    if door in OF_TRAINING:
        pytest.importorskip("torchgeo")
    call, function, good = _doors(folder)[door]
    call(**good)
    faults = []
    for argument, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or argument in CALLBACKS:
            continue
        for name, value in VALUES.items():
            try:
                call(**good | {argument: value})
            except RasteretError as error:
                _require_message(error)
            except Exception as error:  # noqa: BLE001 - what this looks for
                faults.append(f"{argument} = {name}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("option", option_names())
def test_every_value_of_every_option_is_taken_or_refused_by_name(option: str) -> None:
    faults = []
    for name, value in VALUES.items():
        try:
            with rs.set_options(**{option: value}):
                pass
        except RasteretError as error:
            _require_message(error)
        except Exception as error:  # noqa: BLE001 - what this looks for
            faults.append(f"{option} = {name}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


#: Doors that fetch and decode tiles.
READING = [
    door
    for door in DOORS
    if door.startswith(("to_numpy", "to_xarray", "read_", "to_geo", "sample", "zonal", "picture", "export"))
]
FAULTS = [OSError("disk on fire"), MemoryError(), ValueError("not a shape"), RuntimeError("codec"), KeyError("x")]


@pytest.mark.parametrize("door", READING)
@pytest.mark.parametrize("layer", ["store", "decoder"])
def test_faults_below_come_out_with_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, door: str, layer: str
) -> None:
    call, _, good = _doors(folder)[door]
    for fault in FAULTS:

        async def fetch(*_: Any, fault: Exception = fault, **__: Any) -> Any:
            raise fault

        def decode(*_: Any, fault: Exception = fault, **__: Any) -> Any:
            raise fault

        with monkeypatch.context() as patch:
            if layer == "store":
                patch.setattr(LocalStore, "fetch", fetch)
            else:
                patch.setattr(TileDecoder, "_decode", decode)
            with pytest.raises(RasteretError, match=r"i\d_red\.tif") as caught:
                call(**good)
        _require_message(caught.value)


@pytest.mark.parametrize("door", ["to_numpy", "to_xarray", "read_chips", "to_geopandas"])
def test_results_that_memory_cannot_hold_are_refused_with_their_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    call, _, good = _doors(folder)[door]

    class _Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, *_: Any, **__: Any) -> Any:
            raise MemoryError

    monkeypatch.setattr("rasteret_sql.arrays.memory.np", _Full())
    with pytest.raises(
        InvalidArgumentError, match=r"result: got the shape \(.* which takes .*, expected a result that memory can hold"
    ):
        call(**good)


@pytest.mark.parametrize("onto", [{}, GRID])
def test_rows_of_an_index_that_are_broken_are_refused(folder: Path, onto: dict[str, Any]) -> None:
    """Each column without values, with empty ones, and with those of another type."""
    table = pq.read_table(folder / "i.parquet")
    faults = []
    for name, values in itertools.product(table.column_names, ("none", "absent", "empty", "text", "numbers")):
        position = table.column_names.index(name)
        kind = table.schema.field(name).type
        if values == "absent":
            broken = table.drop_columns([name])
        else:
            empty: Any = [] if pa.types.is_list(kind) else "" if pa.types.is_string(kind) else None
            column = {
                "none": pa.nulls(len(table), kind),
                "empty": pa.array([empty] * len(table), kind),
                "text": pa.array(["x"] * len(table)),
                "numbers": pa.array([-1] * len(table)),
            }[values]
            broken = table.set_column(position, name, column)
        try:
            rs.to_numpy(broken, **onto)
        except RasteretError as error:
            _require_message(error)
        except Exception as error:  # noqa: BLE001 - what this looks for
            faults.append(f"{name} = {values}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("field", ["width", "tile_offsets", "tile_byte_counts", "format"])
def test_levels_of_an_index_that_are_broken_are_refused(folder: Path, field: str) -> None:
    table = pq.read_table(folder / "i.parquet")
    levels = table["levels"].to_pylist()
    (known,) = [name for name in levels[0][0] if name == field] or [next(iter(levels[0][0]))]
    for value in (None, -1, 2**40, []):
        rows = [[dict(level) | {known: value} for level in each] for each in levels]
        try:
            column = pa.array(rows, table.schema.field("levels").type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
            continue
        broken = table.set_column(table.column_names.index("levels"), "levels", column)
        try:
            rs.to_numpy(broken)
        except RasteretError as error:
            _require_message(error)


#: Python converts these to numbers, and they are none.
NO_NUMBERS = ["10", True, np.True_, b"10", 1 + 1j, np.complex64(1)]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_texts_and_truth_values_are_no_numbers(folder: Path, value: Any) -> None:
    index, area = folder / "i.parquet", {"bbox": (600_000, 1_399_700, 600_300, 1_400_000), "geometry_crs": "EPSG:32643"}
    calls: dict[str, Callable[[], Any]] = {
        "resolution": lambda: rs.to_numpy(index, crs="EPSG:32643", resolution=value, **area),
        "resolution of a pair": lambda: rs.to_numpy(index, crs="EPSG:32643", resolution=(value, value), **area),
        "shape": lambda: rs.to_numpy(index, crs="EPSG:32643", shape=(value, value), **area),
        "bbox": lambda: rs.to_numpy(index, bbox=(value,) * 4),
        "level": lambda: rs.to_numpy(index, level=value),
        "resolution of explain": lambda: rs.explain(index, resolution=value),
        "nodata": lambda: rs.to_numpy(index, nodata=value),
        "size": lambda: rs.read_chips(index, [("i0", 0, 0)], size=value),
    }
    for name, call in calls.items():
        argument = name.partition(" ")[0]
        with pytest.raises(InvalidArgumentError, match=f"^{argument}: got "):
            call()


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("argument", ["resolution", "fill"])
def test_texts_and_truth_values_are_no_numbers_of_a_dataset(folder: Path, argument: str, value: Any) -> None:
    pytest.importorskip("torchgeo")
    with pytest.raises(InvalidArgumentError, match=f"^{argument}: got "):
        rs.to_torchgeo(folder / "i.parquet", **{argument: value})


@pytest.mark.parametrize("shape", [(3.0, 3.0), (3.7, 3.2), (np.float64(3), 3), "33"])
def test_sizes_in_pixels_are_whole_numbers(folder: Path, shape: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^shape: got .*, expected whole numbers"):
        rs.to_numpy(folder / "i.parquet", crs="EPSG:32643", bbox=(0, 0, 1, 1), geometry_crs="EPSG:32643", shape=shape)


def test_an_index_whose_path_has_quotes_is_read_by_every_door(folder: Path, tmp_path: Path) -> None:
    for where in (tmp_path / 'a"b', tmp_path / "a'b"):
        where.mkdir()
        path = where / 'i"j.parquet'
        path.write_bytes((folder / "i.parquet").read_bytes())
        expected = rs.to_numpy(folder / "i.parquet").data
        for index in (path, where):
            np.testing.assert_array_equal(rs.to_numpy(index).data, expected)
            assert rs.explain(index).table.num_rows == 2
            with rs.connect() as con:
                name = f"{index}/" if index == where else str(index)
                counts = [
                    con.execute(f"SELECT count(*) FROM {function}($1)", [name]).fetchall()
                    for function in ("read_tiles", "tile_plan")
                    # duckdb 1.5 loses the quotes of the names that macros give it.
                    if function == "read_tiles" or not duckdb.__version__.startswith("1.")
                ]
                assert counts[0] == [(8,)]
                assert counts == [[(8,)]] * len(counts)


#: Commands that last or take seconds for each call; what they call is walked above.
_NOT_WALKED = {"serve", "shell", "bench", "demo", "build", "refresh", "export", "preview"}
#: No argument of a process has NUL; bytes that are no UTF-8 are lone surrogates.
TEXTS = ["", "bad text", "nan", "-1", "EPSG:999999", "9" * 30, "\udcff"]


def _commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    return {name: each for name, each in action.choices.items() if name not in _NOT_WALKED}


@pytest.mark.parametrize("command", sorted(_commands()))
def test_every_text_of_every_option_of_a_command_is_taken_or_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    good: dict[str, str] = {
        "INDEX": str(folder / "i.parquet"), "SOURCE": f"{folder}/*.tif", "SQL": "SELECT 1", "FILE": str(tmp_path / "o.tif"),
    }  # fmt: skip
    # As stderr of a process is; stdout is strict there as well.
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    actions = [
        action for action in _commands()[command]._actions if action.nargs != 0 and "help" not in action.option_strings
    ]
    positional = [good.get(str(action.metavar or action.dest), "x") for action in actions if not action.option_strings]
    faults = []
    for action, text in itertools.product(actions, TEXTS):
        given = [f"{action.option_strings[-1]}={text}"] if action.option_strings else []
        needed = [
            f"{other.option_strings[-1]}={good['FILE']}" for other in actions if other.required and other.option_strings
        ]
        others = [] if action.option_strings else [text]
        arguments = [command, *(needed if action.option_strings not in needed else []), *given, *(others or positional)]
        try:
            code = main(arguments)
        except Exception as error:  # noqa: BLE001 - what this looks for
            faults.append(f"{arguments}: {type(error).__name__}: {error}")
            continue
        if code not in {0, 1, 2, 3} or "Traceback" in capsys.readouterr().err:
            faults.append(f"{arguments}: exit code {code}")
    assert not faults, "\n".join(faults)


def test_a_file_that_is_no_database_is_refused_and_sql_of_the_user_has_duckdbs_errors(tmp_path: Path) -> None:
    """The rule: a door of the package raises errors of the package; what runs the user's own SQL is DuckDB."""
    (tmp_path / "text.duckdb").write_text("not a database" * 100)
    for database in (tmp_path / "text.duckdb", tmp_path, tmp_path / "absent" / "a.duckdb"):
        with pytest.raises(InvalidArgumentError, match=r"database: .* cannot be opened: .*expected"):
            rs.connect(database)
    with pytest.raises(InvalidArgumentError, match="database: got object, expected"):
        rs.connect(object())  # type: ignore[arg-type]
    with rs.connect() as con, pytest.raises(duckdb.CatalogException):
        con.execute("FROM nobody")
