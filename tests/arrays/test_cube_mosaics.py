"""Groups of items and what becomes of pixels that several of them have, held against NumPy and odc-stac."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rioxarray  # noqa: F401 - gives datasets .rio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, at, make_index, noise, stac_items

if TYPE_CHECKING:
    from pathlib import Path

MOSAICS = ("first", "last", "min", "max", "mean", "median", "count")


def _stack(files: list[File], shape: tuple[int, int], nodata: float | None) -> np.ma.MaskedArray[Any, Any]:
    """The files on their common grid, (file, y, x), masked where they have no data."""
    stack = np.ma.masked_all((len(files), *shape), files[0].data.dtype)
    for layer, file in zip(stack, files, strict=True):
        west, north = file.options["transform"][2], file.options["transform"][5]
        row, col = round((1_400_000 - north) / 10), round((west - 600_000) / 10)
        part = np.ma.masked_array(file.data, np.zeros(file.data.shape, bool) if file.mask is None else ~file.mask)
        if file.data.dtype.kind == "f":
            part = np.ma.masked_invalid(part)
        if nodata is not None:
            part = np.ma.masked_array(part, np.ma.getmaskarray(part) | (file.data == nodata))
        layer[row : row + file.data.shape[0], col : col + file.data.shape[1]] = part
    return stack


def _expected(stack: np.ma.MaskedArray[Any, Any], mosaic: str) -> np.ma.MaskedArray[Any, Any]:
    if mosaic == "count":
        return np.ma.masked_array(stack.count(axis=0))
    if mosaic in {"first", "last"}:
        out = np.ma.masked_all(stack.shape[1:], stack.dtype)
        for layer in stack if mosaic == "last" else stack[::-1]:
            valid = ~np.ma.getmaskarray(layer)
            out[valid] = layer[valid]
        return out
    if mosaic in {"median", "mean"}:
        # What is masked was never written, and may be a NaN that no cast takes without a warning.
        doubles = np.ma.MaskedArray(stack.filled(0).astype(np.float64), np.ma.getmaskarray(stack))
        return np.ma.median(doubles, axis=0) if mosaic == "median" else doubles.mean(axis=0)
    return getattr(stack, mosaic)(axis=0)


@pytest.fixture
def overlapping(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[File], float | None]:
    """Five items that overlap, each with holes, of one kind of nodata."""
    kind = request.param
    dtype, nodata = {
        "zero": ("uint16", 0), "nan": ("float32", np.nan), "minus": ("float32", -9999.0), "mask": ("uint8", None),
    }[kind]  # fmt: skip
    files = []
    for number in range(5):
        data = noise(number, (40, 48), dtype)
        holes = np.random.default_rng(number + 50).random(data.shape) < 0.4
        if nodata is not None:
            data[holes] = nodata
        if kind == "minus":
            # NaN is no reading either, whatever the file says of nodata.
            data[::7, ::5] = np.nan
        transform = at(600_000 + 80 * number, 1_400_000 - 50 * (number % 3))
        files.append(File("edcba"[number], "red", data, 1, ~holes if nodata is None else None, {"path": 7}, {"nodata": nodata, "transform": transform}))  # fmt: skip
    return make_index(tmp_path, files), files, nodata


@pytest.mark.parametrize("overlapping", ["zero", "nan", "minus", "mask"], indirect=True)
def test_mosaics_are_those_of_numpy_with_nodata_falling_through(
    overlapping: tuple[Path, list[File], float | None],
) -> None:
    index, files, nodata = overlapping
    # The order of the query decides, not that of the index.
    query = f"FROM '{index}' ORDER BY item_id DESC"
    for mosaic in MOSAICS:
        dataset = rs.to_xarray(query, groupby="path", mosaic=mosaic)
        mine = dataset.red[0].values
        expected = _expected(_stack(files, mine.shape, nodata), mosaic)
        valid = ~np.ma.getmaskarray(expected)
        np.testing.assert_allclose(mine[valid], expected.data[valid], rtol=1e-6 if mosaic in {"mean", "median"} else 0)
        if mosaic == "count":
            assert mine.dtype == np.uint16
            assert "_FillValue" not in dataset.red.attrs
            continue
        assert not valid.all()
        if "red_valid" in dataset:
            np.testing.assert_array_equal(dataset.red_valid[0], valid)
            fill: float = 0
        else:
            fill = dataset.red.attrs["_FillValue"]
        np.testing.assert_array_equal(mine[~valid], np.full((~valid).sum(), fill, mine.dtype))
        assert set(dataset.item_id.values[0].split(",")) == set("abcde")
        assert dataset.item_count.values.tolist() == [5]


@pytest.mark.parametrize("overlapping", ["zero"], indirect=True)
def test_first_and_last_follow_the_order_of_any_kind_of_query(
    overlapping: tuple[Path, list[File], float | None],
) -> None:
    index, files, nodata = overlapping
    con = rs.connect()
    shape = rs.to_xarray(index, groupby="path").red.shape[1:]
    rising, falling = sorted(files, key=lambda file: file.item), sorted(files, key=lambda file: file.item)[::-1]
    table = pq.read_table(index)
    by_id = sorted(range(table.num_rows), key=lambda row: table["item_id"][row].as_py())
    cases: list[tuple[Any, list[File]]] = [
        (f"FROM '{index}' ORDER BY item_id", rising),
        (f"FROM '{index}' ORDER BY item_id DESC", falling),
        (con.sql(f"FROM '{index}' ORDER BY item_id DESC"), falling),
        (table.take(by_id[::-1]), falling),
        # A file has no order of its own: by collection, time and id.
        (index, rising),
    ]
    for subject, order in cases:
        for mosaic in ("first", "last"):
            mine = rs.to_xarray(subject, groupby="path", mosaic=mosaic).red[0]
            np.testing.assert_array_equal(mine, _expected(_stack(order, shape, nodata), mosaic).filled(0))
    con.close()


@pytest.mark.parametrize("overlapping", ["zero"], indirect=True)
def test_lazy_arrays_of_two_orders_or_chunkings_are_two_arrays(
    overlapping: tuple[Path, list[File], float | None],
) -> None:
    index, _, _ = overlapping
    options: dict[str, Any] = {"groupby": "path", "chunks": {"y": 20}}
    rising = rs.to_xarray(f"FROM '{index}' ORDER BY item_id", **options)
    falling = rs.to_xarray(f"FROM '{index}' ORDER BY item_id DESC", **options)
    coarse = rs.to_xarray(f"FROM '{index}' ORDER BY item_id", **options | {"chunks": {"y": 25}})
    names = {dataset.red.data.name for dataset in (rising, falling, coarse)}
    assert len(names) == 3
    again = rs.to_xarray(f"FROM '{index}' ORDER BY item_id", **options)
    assert again.red.data.name == rising.red.data.name
    # In one computation, none stands in for another.
    assert int((rising.red.astype(int) - coarse.red).sum()) == 0
    assert int(np.abs(rising.red.astype(int) - falling.red).sum()) > 0


def test_groups_are_ids_times_days_columns_or_collections(tmp_path: Path) -> None:
    hours = {"a": (1, 10), "b": (1, 10), "c": (1, 23), "d": (2, 1)}
    files = [
        File(item, "red", noise(number, (32, 32)), dt.datetime(2024, 1, day, hour, tzinfo=dt.UTC), None, {"orbit": number % 2}, {"nodata": 0})
        for number, (item, (day, hour)) in enumerate(hours.items())
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    wanted = {
        "id": ["a", "b", "c", "d"],
        "time": ["a,b", "c", "d"],
        "day": ["a,b,c", "d"],
        # At 76 degrees east, 23:00 UTC is the next morning.
        "solar_day": ["a,b", "c,d"],
        "orbit": ["a,c", "b,d"],
        "collection": ["a,b,c,d"],
    }
    for groupby, items in wanted.items():
        dataset = rs.to_xarray(index, groupby=groupby)
        assert dataset.item_id.values.tolist() == items, groupby
        assert (np.diff(dataset.time.values) >= np.timedelta64(0, "ns")).all()
        first = {file.item: file.data for file in files}
        np.testing.assert_array_equal(dataset.red, [first[each[0]] for each in items])
    with pytest.raises(
        InvalidArgumentError, match=r"groupby: got 'cloud', expected None, one of id, time.*: .*collection.*orbit"
    ):
        rs.to_xarray(index, groupby="cloud")
    with pytest.raises(InvalidArgumentError, match=r"groupby: got \['day'\]"):
        rs.to_xarray(index, groupby=["day"])  # type: ignore[arg-type]


def test_a_pass_over_the_antimeridian_is_one_solar_day(tmp_path: Path) -> None:
    files = [
        File(
            name, "red", np.ones((16, 16), np.uint8), dt.datetime(2024, 1, 5, 22, 30, second, tzinfo=dt.UTC),
            options={"crs": "EPSG:32760", "transform": (1000.0, 0.0, west, 0.0, -1000.0, 8_000_000.0), "tile": 16},
        )
        for second, (name, west) in enumerate({"beside": 780_000.0, "over": 812_000.0, "beyond": 830_000.0}.items())
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    ((widest,),) = rs.connect().sql(f"SELECT max(bbox.xmax - bbox.xmin) FROM '{index}'").fetchall()
    assert widest == 360
    assert rs.to_xarray(index, groupby="solar_day").item_id.values.tolist() == ["beside,over,beyond"]


def test_solar_days_are_those_of_odc_stac_but_for_the_part_of_an_hour(tmp_path: Path) -> None:
    places = {"p": (-179.5, 0.25), "q": (-75.4, 10), "r": (0.5, 20), "s": (75.4, 23), "t": (179.2, 0.5)}
    files = [
        File(
            f"{name}{hour}", "red", np.ones((16, 16), np.uint8), dt.datetime(2024, 1, 2, hour, 40, tzinfo=dt.UTC),
            options={"crs": "EPSG:4326", "transform": at(west, north, 0.001), "tile": 16},
        )
        for name, (west, north) in places.items()
        for hour in range(0, 24, 3)
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    parsing = pytest.importorskip("odc.stac", reason="odc-stac is not installed")
    parsed = {item.id: item for item in parsing.parse_items(stac_items(tmp_path, files))}
    disagree = []
    for name in places:
        dataset = rs.to_xarray(f"FROM '{index}' WHERE item_id[1] = '{name}'", groupby="solar_day")
        mine = {item: number for number, group in enumerate(dataset.item_id.values) for item in group.split(",")}
        theirs = [parsed[item].solar_date.date() for item in sorted(mine, key=lambda item: parsed[item].datetime)]
        days = {day: number for number, day in enumerate(sorted(set(theirs)))}
        disagree += [
            item
            for item, day in zip(sorted(mine, key=lambda item: parsed[item].datetime), theirs, strict=True)
            if days[day] != mine[item]
        ]
    # odc-stac cuts the offset to whole hours, towards Greenwich: at 179.2 degrees east the sun says 0:37 of the next day
    # when it is 12:40 in UTC, and odc-stac 23:40.
    assert disagree == ["t12"]


def test_properties_are_coordinates_and_missing_ones_are_not_zero(tmp_path: Path) -> None:
    seen = dt.datetime(2024, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    files = [
        File("a", "red", noise(1, (32, 32)), 1, None, {"eo:cloud_cover": 0.0, "platform": "s2a", "checked": True, "updated": seen, "orbit": 7}),
        File("b", "red", noise(2, (32, 32)), 2, None, {"eo:cloud_cover": None, "platform": None, "checked": None, "updated": None, "orbit": None}),
        File("c", "red", noise(3, (32, 32)), 3, None, {"eo:cloud_cover": 12.5, "platform": "s2b", "checked": False, "updated": seen, "orbit": 9}),
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    dataset = rs.to_xarray(index)
    np.testing.assert_array_equal(dataset["eo:cloud_cover"], [0.0, np.nan, 12.5])
    assert dataset.platform.values.tolist() == ["s2a", "", "s2b"]
    np.testing.assert_array_equal(dataset.checked, [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(dataset.orbit, [7, np.nan, 9])
    assert dataset.updated.values[0] == np.datetime64("2024-03-04T05:06:07")
    assert np.isnat(dataset.updated.values[1])
    clear = rs.to_xarray(f"FROM '{index}' WHERE \"eo:cloud_cover\" < 10")
    assert clear.item_id.values.tolist() == ["a"]
    whole = rs.to_xarray(f"FROM '{index}' WHERE checked IS NOT NULL")
    assert whole.checked.dtype == bool
    assert whole.orbit.dtype.kind == "i"
    grouped = rs.to_xarray(index, groupby="collection")
    assert "platform" not in grouped.coords, "the items of the group do not agree"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("is_lazy", [False, True])
def test_files_hold_what_was_written_to_them(tmp_path: Path, is_lazy: bool) -> None:
    import xarray as xr

    seen = dt.datetime(2024, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    first = {"eo:cloud_cover": None, "platform": "s2a", "checked": True, "updated": seen}
    second = {"eo:cloud_cover": 5.0, "platform": None, "checked": False, "updated": None}
    physical = {"scales": [0.5], "offsets": [3.0], "units": ["m"]}
    files = [
        File("a", "red", noise(1), 1, None, first, {"nodata": 0}),
        File("b", "red", noise(2), 2, None, second, {"nodata": 0}),
        File("a", "dem", noise(3, dtype="float32"), 1, None, first, physical),
        File("b", "scl", noise(4, dtype="uint8"), 2, noise(5) > 900, second),
    ]
    index = make_index(tmp_path, files)
    dataset = rs.to_xarray(index, **({"chunks": {"y": 32}} if is_lazy else {}))
    expected = dataset.compute()
    dataset.to_netcdf(tmp_path / "c.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "c.nc", engine="netcdf4", mask_and_scale=False, decode_coords="all") as stored:
        again = stored.load()
    pytest.importorskip("zarr", reason="zarr is not installed")
    dataset.to_zarr(tmp_path / "c.zarr", zarr_format=2, consolidated=False)
    zarred = xr.open_zarr(tmp_path / "c.zarr", mask_and_scale=False, consolidated=False, decode_coords="all").load()
    for each in (again, zarred):
        for name in ("red", "dem", "scl", "x", "y", "platform", "checked", "updated", "eo:cloud_cover", "time"):
            np.testing.assert_array_equal(each[name], expected[name], err_msg=name)
        assert each.rio.crs == expected.rio.crs
        assert each.red.attrs["_FillValue"] == 0
        assert each.dem.attrs["scale_factor"] == 0.5
    with xr.open_dataset(tmp_path / "c.nc", engine="netcdf4") as decoded:
        scaled = rs.to_xarray(index, mask_and_scale=True)
        np.testing.assert_allclose(decoded.dem, scaled.dem)
        np.testing.assert_array_equal(np.isnan(decoded.red), np.isnan(scaled.red))


def test_a_slice_is_plotted_in_one_call(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    index = make_index(tmp_path, [File("a", "red", noise(1), options={"nodata": 0})])
    drawn = rs.to_xarray(index).red.isel(time=0).plot()
    assert drawn.axes.get_xlabel()
    plt.close("all")


@pytest.mark.parametrize("groupby", [3, ["day"], ""])
def test_what_is_no_name_is_no_group_before_anything_is_planned(groupby: Any) -> None:
    """There is no such index: the argument is looked at before it."""
    with pytest.raises(InvalidArgumentError, match=r"groupby: got .*, expected None, one of id"):
        rs.to_xarray("nowhere.parquet", groupby=groupby)
