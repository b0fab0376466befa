"""How STAC and the TIFF header together describe bands."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from pyarrow import parquet

from rasteret_sql.index.header_columns import merge_bands, possible_nodata
from rasteret_sql.sql.indexes import build_index
from rasteret_sql.tiff.model import Band


def names(bands):
    return [band["name"] for band in bands]


def test_bands_are_named_by_stac_then_the_tiff_then_the_asset_then_their_number():
    assert names(merge_bands([Band(1)], [], "red")) == ["red"]
    assert names(merge_bands([Band(1, description="Red")], [], "red")) == ["Red"]
    assert names(merge_bands([Band(1, description="Red")], [({"name": "B04"},)], "red")) == ["B04"]
    assert names(merge_bands([Band(1), Band(2, description="x")], [], "visual")) == ["1", "x"]


def test_the_header_is_believed_and_what_it_lacks_is_filled_in():
    bands = [Band(1, nodata=0, scale=None, offset=1.0)]
    (merged,) = merge_bands(bands, [({"nodata": 9, "scale": 0.1, "offset": 5, "unit": "m"},)], "a")
    assert (merged["nodata"], merged["scale"], merged["offset"], merged["unit"]) == (0.0, 0.1, 1.0, "m")


def test_descriptions_of_other_lists_are_merged_by_position():
    lists = [({"name": "B1"}, {"name": "B2"}), ({"nodata": 1}, {"nodata": 2})]
    merged = merge_bands([Band(1), Band(2)], lists, "a")
    assert [(band["name"], band["nodata"]) for band in merged] == [("B1", 1.0), ("B2", 2.0)]


def test_a_list_may_leave_out_the_alpha_band():
    bands = [Band(1), Band(2, is_alpha=True)]
    merged = merge_bands(bands, [({"name": "grey"},)], "a")
    assert [(band["name"], band["is_alpha"]) for band in merged] == [("grey", False), ("2", True)]


def test_a_list_that_does_not_fit_the_file_is_not_used():
    merged = merge_bands([Band(1), Band(2), Band(3)], [({"name": "x", "nodata": 0},)], "a")
    assert [(band["name"], band["nodata"]) for band in merged] == [("1", None), ("2", None), ("3", None)]


def test_fields_of_the_asset_hold_for_every_band():
    merged = merge_bands([Band(1), Band(2)], [({"nodata": -9999, "every": True},)], "a")
    assert [band["nodata"] for band in merged] == [-9999.0, -9999.0]


@pytest.mark.parametrize(("said", "expected"), [("inf", math.inf), ("-inf", -math.inf), ("5", 5.0), ("x", None)])
def test_numbers_that_stac_writes_as_text_are_numbers(said, expected):
    (merged,) = merge_bands([Band(1)], [({"nodata": said},)], "a")
    assert merged["nodata"] == expected


def test_nan_is_a_nodata_value():
    (merged,) = merge_bands([Band(1)], [({"nodata": "nan"},)], "a")
    assert math.isnan(merged["nodata"])


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ("nan", "uint8"),
        (math.nan, "int16"),
        ("inf", "int32"),
        (-9999, "uint8"),
        (256, "uint8"),
        (1e20, "int64"),
        ("x", "f4"),
    ],
)
def test_nodata_that_no_pixel_can_have_is_left_out_with_a_note(given, dtype):
    lists = [({"nodata": given, "unit": "m"}, {"nodata": given})]
    assert possible_nodata(lists, dtype)[0] == [({"unit": "m"}, {})]
    (note,) = possible_nodata(lists, dtype)[1]
    assert str(given) in note
    assert note.startswith("nodata of the source")


@pytest.mark.parametrize(
    ("given", "dtype"), [(0, "uint8"), (255.0, "uint8"), ("nan", "float32"), (-9999, "int16"), (2**63 - 1, "int64")]
)
def test_nodata_that_pixels_can_have_stays(given, dtype):
    lists = [({"nodata": given},), ({"name": "a"},)]
    assert possible_nodata(lists, dtype) == (lists, [])


@pytest.mark.parametrize("kind", ["raster:bands", "asset fields", "a table"])
def test_impossible_nodata_reaches_no_index_whichever_source_gives_it(kind, cog, stac_item, tmp_path):
    href = str(cog("a.tif"))
    if kind == "a table":
        source = pa.table({"href": [href], "bands": [[{"name": "a", "nodata": -9999.0}]]})
    else:
        source = stac_item("i", {"a": href})
        source["assets"]["a"] |= {"nodata": "nan"} if kind == "asset fields" else {"raster:bands": [{"nodata": "nan"}]}
    report = build_index(source, tmp_path / "i.parquet")
    (row,) = parquet.read_table(tmp_path / "i.parquet").to_pylist()
    assert row["bands"][0]["nodata"] is None
    assert row["notes"][0].endswith("cannot occur in uint16 pixels")
    assert report.noted == 1
