"""Resampled pixels equal those of GDAL's warper, and keep what must never change."""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.resampling import AREA_METHODS, EPSILON, METHODS, POINT_METHODS, reach
from rasteret_sql.read.resample import resample_areas, resample_points

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float32", "float64")
CHOOSING = {"nearest", "mode", "min", "max"}
NODATA = 9
UTM = "EPSG:32632"
# Powers of two: GDAL turns these coordinates into pixels without rounding.
SOURCE = Affine(16, 0, 2**18, 0, -16, 2**22)
SHAPE = (60, 70)


@dataclass(frozen=True)
class Case:
    """Where target pixels lie in the source, and how many source pixels make one."""

    to_source: Affine
    shape: tuple[int, int] = SHAPE
    scale: tuple[float, float] = (1.0, 1.0)


CASES = {
    "identity": Case(Affine.identity()),
    "shifted": Case(Affine.translation(0.3, 0.7)),
    "beyond every edge": Case(Affine.translation(-7.3, -4.6), (72, 85)),
    "upsampled": Case(Affine.translation(2, 3) @ Affine.scale(0.37, 0.41), (90, 80)),
    "south-up": Case(Affine.translation(0, 60) @ Affine.scale(1, -1)),
    "south-up, shifted": Case(Affine.translation(0.4, 57.9) @ Affine.scale(1.02, -1.01)),
    "east to west": Case(Affine.translation(69.2, 0.1) @ Affine.scale(-1, 1)),
    "wide": Case(Affine.scale(2.5, 1), (60, 28), (1, 2.5)),
    "tall, upsampled in width": Case(Affine.scale(0.5, 2.2), (27, 140), (2.2, 1)),
    "turned": Case(Affine.translation(3, 2) @ Affine.rotation(2.5)),
    "turned, downsampled": Case(
        Affine.translation(3, 2) @ Affine.rotation(-2.5) @ Affine.scale(2.2), (25, 30), (2.2, 2.2)
    ),
} | {
    f"downsampled {scale}": Case(
        Affine.translation(0.25, -0.75) @ Affine.scale(scale), (int(60 / scale), int(70 / scale)), (scale, scale)
    )
    for scale in (1.04, 1.5, 2, 2.7, 5, 10, 23, 40)
}


def random_pixels(dtype: str, shape: tuple[int, int] = SHAPE, *, far_from_nodata: bool = False, classes: bool = False):
    """Noise: nothing is harder to interpolate."""
    rng = np.random.default_rng(len(dtype))
    kind = np.dtype(dtype)
    if classes:
        return rng.integers(20, 25, shape).astype(kind)
    if kind.kind == "c":
        return (rng.normal(500, 300, shape) + 1j * rng.normal(0, 300, shape)).astype(kind)
    if kind.kind == "f":
        return rng.normal(500, 300, shape).astype(kind)
    if far_from_nodata:
        return rng.integers(40, 100 if kind.itemsize == 1 else 10000, shape).astype(kind)
    limits = np.iinfo(kind)
    # GDAL's own coordinates are rounded, by so little that it shows in no smaller number.
    return rng.integers(max(limits.min, -(2**20)), min(limits.max, 2**20), shape, dtype=kind, endpoint=True)


def holes(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A mask with invalid edges, a large hole and single pixels."""
    mask = np.random.default_rng(1).random(shape) > 0.08
    mask[:9] = False
    mask[:, -4:] = False
    mask[20:30, 20:40] = False
    return mask


def affine_coordinates(case: Case, *, corners: bool) -> tuple[np.ndarray, np.ndarray]:
    height, width = case.shape
    offset = 0.0 if corners else 0.5
    col, row = np.meshgrid(np.arange(width + corners) + offset, np.arange(height + corners) + offset)
    return case.to_source.d * col + case.to_source.e * row + case.to_source.f, (
        case.to_source.a * col + case.to_source.b * row + case.to_source.c
    )


def ours(pixels, mask, rows, cols, method: str, scale=(1.0, 1.0)):
    if method in AREA_METHODS:
        return resample_areas(pixels, mask, rows, cols, method)
    return resample_points(pixels, mask, rows, cols, method, scale)


def warped(pixels, transform, shape, method: str, scale, *, nodata=None, crs: str = UTM):
    """What GDAL makes of pixels on the source grid, exact transformer, and what it holds valid."""

    def run(pixels, nodata, fill):
        out = np.full(shape, fill, pixels.dtype)
        reproject(
            pixels,
            out,
            src_transform=SOURCE,
            src_crs=UTM,
            dst_transform=transform,
            dst_crs=crs,
            resampling=Resampling[method],
            src_nodata=nodata,
            dst_nodata=nodata,
            init_dest_nodata=nodata is not None,
            tolerance=0,
            num_threads=1,
            YSCALE=str(1 / scale[0]),
            XSCALE=str(1 / scale[1]),
        )
        return out

    out = run(pixels, nodata, 0)
    if nodata is None:
        return out, run(np.ones(pixels.shape, np.uint8), None, 0) == 1
    return out, ~np.isnan(out) if math.isnan(nodata) else out != nodata


@cache
def weighs_modes() -> bool:
    """Whether this GDAL weighs the pixels of a mode by the part that a box covers, as from 3.11 on.

    A box covers a tenth of two pixels of value 1, and all of the pixel of value 2 between them.
    """
    box = SOURCE @ Affine.translation(0.9, 0) @ Affine.scale(1.2, 1)
    (mode,) = np.unique(warped(np.array([[1, 2, 1]], np.uint8), box, (1, 1), "mode", (1.0, 1.2))[0])
    return bool(mode == 2)


def modes(pixels, mask, rows, cols):
    """Modes by the number of source pixels and by their area, and where a clear majority of area decides the latter."""
    shape = rows.shape[0] - 1, rows.shape[1] - 1
    counted, weighted, clear = np.zeros(shape, pixels.dtype), np.zeros(shape, pixels.dtype), np.zeros(shape, np.bool_)
    for target in np.ndindex(*shape):
        opposite = target[0] + 1, target[1] + 1
        spans = []
        for places, size in ((rows, pixels.shape[0]), (cols, pixels.shape[1])):
            start, end = sorted((places[target], places[opposite]))
            first, last = max(math.floor(start + EPSILON), 0), min(math.ceil(end - EPSILON), size)
            covered = np.ones(max(last - first, 0))
            # The outermost pixels stand for what lies outside.
            covered[:1] -= start - first
            covered[-1:] -= last - end
            spans.append(list(zip(range(first, last), covered.tolist(), strict=True)))
        counts: Counter[Any] = Counter()
        areas: Counter[Any] = Counter()
        for row, height in spans[0]:
            for col, width in spans[1]:
                if mask is None or mask[row, col]:
                    value = pixels[row, col]
                    counts[value] += 1
                    areas[value] += height * width
                    if counts[value] > counts[counted[target]] or len(counts) == 1:
                        counted[target] = value
        if areas:
            weighted[target] = max(areas, key=areas.__getitem__)
            most = sorted(areas.values())[-2:]
            clear[target] = len(most) == 1 or most[1] - most[0] > 1e-5
    return counted, weighted, clear


def assert_modes_agree(got, expected, references) -> None:
    """Hold our modes against a count of pixels, and those of a GDAL that has another rule against their areas."""
    counted, weighted, clear = references
    valid = expected[1]
    np.testing.assert_array_equal(got[1], valid)
    np.testing.assert_array_equal(got[0][valid], counted[valid])
    # For wider types GDAL 3.12 follows neither rule everywhere.
    decided = valid & clear & ((counted == weighted) | (got[0].dtype.itemsize <= 2))
    np.testing.assert_array_equal(expected[0][decided], weighted[decided])
    assert decided.any()


def assert_agrees(got, expected, method: str, exact_of_ties) -> None:
    """Validity is the same; integers differ by one, and only where the value before rounding is a tie."""
    (out, valid), (oracle, oracle_valid) = got, expected
    np.testing.assert_array_equal(valid, oracle_valid)
    out, oracle = out[valid], oracle[valid]
    if method in CHOOSING:
        np.testing.assert_array_equal(out, oracle)
    elif out.dtype.kind in "fc":
        np.testing.assert_allclose(out, oracle, rtol=1e-6, atol=1e-6 * 300)
    else:
        differs = out != oracle
        assert np.abs(out.astype(np.float64) - oracle.astype(np.float64)).max(initial=0) <= 1
        if differs.any():
            exact = exact_of_ties()[0][valid][differs]
            np.testing.assert_allclose(exact - np.floor(exact), 0.5, atol=1e-4)
    assert valid.any()


def compare(case: Case, method: str, dtype: str, *, masked: bool, separable: bool = True) -> None:
    pixels = random_pixels(dtype, far_from_nodata=masked, classes=method == "mode")
    nodata, mask = None, None
    if masked:
        mask = holes()
        nodata = math.nan if pixels.dtype.kind == "f" else NODATA
        pixels[~mask] = nodata
    rows, cols = affine_coordinates(case, corners=method in AREA_METHODS)
    expected = warped(pixels, SOURCE @ case.to_source, case.shape, method, case.scale, nodata=nodata)
    references = modes(pixels, mask, rows, cols) if method == "mode" and weighs_modes() else None

    def check(rows, cols) -> None:
        got = ours(pixels, mask, rows, cols, method, case.scale)
        assert got[0].dtype == pixels.dtype
        if method == "mode" and weighs_modes():
            assert_modes_agree(got, expected, references)
            return
        assert_agrees(
            got, expected, method, lambda: ours(pixels.astype(np.float64), mask, rows, cols, method, case.scale)
        )

    check(rows, cols)
    if separable and case.to_source.b == 0:
        check(rows[:, 0].copy(), cols[0].copy())


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_affine_grids_agree_with_gdal(case, method, masked) -> None:
    if method == "cubic" and 2 * max(case.scale) > max(SHAPE):
        pytest.skip("GDAL takes bilinear where the kernel is larger than the image")
    compare(case, method, "int16", masked=masked)
    compare(case, method, "float32", masked=masked)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("method", METHODS)
def test_every_dtype_agrees_with_gdal(method, dtype) -> None:
    for masked in (False, True):
        compare(CASES["shifted"], method, dtype, masked=masked)
        compare(CASES["downsampled 2.7"], method, dtype, masked=masked)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average"])
def test_complex_numbers_agree_with_gdal(method, dtype) -> None:
    compare(CASES["shifted"], method, dtype, masked=False)
    compare(CASES["downsampled 2.7"], method, dtype, masked=False)


@dataclass(frozen=True)
class Projected:
    """A target grid in another CRS, over the middle of the source or beyond it."""

    crs: str
    pixel: float
    scale: float


PROJECTED = {
    "geographic": Projected("EPSG:4326", 16 / 111_000, 1.0),
    "geographic, downsampled": Projected("EPSG:4326", 2.3 * 16 / 111_000, 2.3),
    "web mercator": Projected("EPSG:3857", 20, 1.0),
    "other zone": Projected("EPSG:32633", 16, 1.0),
    "other zone, downsampled": Projected("EPSG:32633", 48, 3.0),
}


def projected_coordinates(transform: Affine, crs: str, shape: tuple[int, int], *, corners: bool):
    offset = 0.0 if corners else 0.5
    col, row = np.meshgrid(np.arange(shape[1] + corners) + offset, np.arange(shape[0] + corners) + offset)
    x, y = transform @ (col, row)
    x, y = Transformer.from_crs(crs, UTM, always_xy=True).transform(x, y)
    return (SOURCE.f - y) / 16, (x - SOURCE.c) / 16


def warped_exactly(pixels, transform, shape, method, scale, *, nodata, crs):
    """What GDAL makes of pixels, five columns at a time: it interpolates the coordinates of wider rows."""
    strips = [
        warped(pixels, transform @ Affine.translation(col, 0), (shape[0], 5), method, scale, nodata=nodata, crs=crs)
        for col in range(0, shape[1], 5)
    ]
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*strips, strict=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", PROJECTED.values(), ids=PROJECTED.keys())
def test_other_crs_agree_with_gdal(target, method) -> None:
    x, y = Transformer.from_crs(UTM, target.crs, always_xy=True).transform(*(SOURCE @ (10, 8)))
    transform = Affine(target.pixel, 0, x, 0, -target.pixel, y)
    shape = (60, 70) if target.scale == 1 else (30, 35)
    scale = (target.scale, target.scale)
    rows, cols = projected_coordinates(transform, target.crs, shape, corners=method in AREA_METHODS)
    for dtype, masked in (("uint16", False), ("uint16", True), ("float32", True)):
        pixels = random_pixels(dtype, far_from_nodata=True, classes=method == "mode")
        nodata, mask = None, None
        if masked:
            mask = holes()
            nodata = math.nan if dtype == "float32" else NODATA
            pixels[~mask] = nodata
        expected = warped_exactly(pixels, transform, shape, method, scale, nodata=nodata, crs=target.crs)
        got = ours(pixels, mask, rows, cols, method, scale)
        if method == "mode" and weighs_modes():
            assert_modes_agree(got, expected, modes(pixels, mask, rows, cols))
            continue
        assert_agrees(
            got,
            expected,
            method,
            lambda pixels=pixels, mask=mask: ours(pixels.astype(np.float64), mask, rows, cols, method, scale),
        )


def identity_coordinates(shape: tuple[int, int], method: str) -> tuple[np.ndarray, np.ndarray]:
    if method in AREA_METHODS:
        return np.arange(shape[0] + 1.0), np.arange(shape[1] + 1.0)
    return np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5


def scattered(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same places, in the general form."""
    both = np.meshgrid(rows, cols, indexing="ij")
    return both[0], both[1]


@st.composite
def images(draw, dtypes=INTEGERS + FLOATS) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and a mask; floats are finite."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    if dtype.kind == "f":
        elements: Any = st.floats(-1e6, 1e6, width=32)
    else:
        elements = st_numpy.from_dtype(dtype)
    return draw(st_numpy.arrays(dtype, shape, elements=elements)), draw(st_numpy.arrays(np.bool_, shape))


@st.composite
def axes(draw, size: int, *, least: int = 1) -> np.ndarray:
    """Coordinates along one axis: from any start, any step, either way, some of them nowhere."""
    step = draw(st.one_of(st.sampled_from([1.0, 0.5, 2.0, -1.0]), st.floats(0.1, 4), st.floats(-4, -0.1)))
    start = draw(st.one_of(st.sampled_from([0.0, 0.5]), st.floats(-3, size + 3)))
    places = start + step * np.arange(draw(st.integers(least, 14)))
    for index in draw(st.lists(st.integers(0, len(places) - 1), max_size=1)):
        places[index] = draw(st.sampled_from([math.nan, math.inf, -math.inf, 1e300]))
    return places


@st.composite
def reads(draw, methods=METHODS, dtypes=INTEGERS + FLOATS):
    """Pixels, mask, rows, cols, method and scale."""
    pixels, mask = draw(images(dtypes))
    method = draw(st.sampled_from(methods))
    least = 2 if method in AREA_METHODS else 1
    rows, cols = draw(axes(pixels.shape[0], least=least)), draw(axes(pixels.shape[1], least=least))
    scale = draw(st.one_of(st.just((1.0, 1.0)), st.tuples(st.floats(0.3, 4), st.floats(0.3, 4))))
    return pixels, mask, rows, cols, method, scale


@settings(max_examples=60, deadline=None)
@given(image=images(), method=st.sampled_from(METHODS), general=st.booleans())
def test_the_identity_gives_the_same_pixels(image, method, general) -> None:
    pixels, mask = image
    if method in {"bilinear", "cubic", "average"} and pixels.dtype.itemsize == 8 and pixels.dtype.kind != "f":
        pixels >>= 12  # sums are in float64
    rows, cols = identity_coordinates(pixels.shape, method)
    if general:
        rows, cols = scattered(rows, cols)
    out, valid = ours(pixels, mask, rows, cols, method)
    np.testing.assert_array_equal(valid, mask)
    np.testing.assert_array_equal(out, np.where(mask, pixels, 0))


@settings(max_examples=60, deadline=None)
@given(read=reads(), general=st.booleans())
def test_a_constant_image_stays_constant(read, general) -> None:
    pixels, mask, rows, cols, method, scale = read
    pixels[:] = pixels[0, 0]
    if general:
        rows, cols = scattered(rows, cols)
    out, valid = ours(pixels, mask, rows, cols, method, scale)
    if method in CHOOSING or pixels.dtype.itemsize < 8:
        wrong = out[valid] != pixels[0, 0]
        if pixels.dtype.kind == "f":
            wrong = ~np.isclose(out[valid], pixels[0, 0], rtol=1e-6)
        assert not wrong.any()
    else:
        np.testing.assert_allclose(out[valid].astype(np.float64), float(pixels[0, 0]), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(read=reads(methods=sorted(set(METHODS) - {"cubic"})))
def test_results_lie_among_the_valid_values(read) -> None:
    pixels, mask, rows, cols, method, scale = read
    out, valid = ours(pixels, mask, rows, cols, method, scale)
    if not mask.any():
        assert not valid.any()
        return
    least, most = float(pixels[mask].min()), float(pixels[mask].max())
    slack = 1e-6 * max(abs(least), abs(most))
    values = out[valid].astype(np.float64)
    assert ((values >= least - slack) & (values <= most + slack)).all()


@settings(max_examples=60, deadline=None)
@given(read=reads(), general=st.booleans(), data=st.data())
def test_masked_values_never_count(read, general, data) -> None:
    pixels, mask, rows, cols, method, scale = read
    if general:
        rows, cols = scattered(rows, cols)
    out, valid = ours(pixels, mask, rows, cols, method, scale)
    other = pixels.copy()
    extremes = [math.nan, math.inf, -math.inf, 1e30] if pixels.dtype.kind == "f" else [0, np.iinfo(pixels.dtype).max]
    other[~mask] = data.draw(st.sampled_from(extremes))
    other_out, other_valid = ours(other, mask, rows, cols, method, scale)
    np.testing.assert_array_equal(valid, other_valid)
    np.testing.assert_array_equal(out, other_out)
    assert not np.isnan(out.astype(np.float64)).any()


@settings(max_examples=60, deadline=None)
@given(read=reads(), masked=st.booleans())
def test_both_forms_of_coordinates_give_the_same(read, masked) -> None:
    pixels, mask, rows, cols, method, scale = read
    one = ours(pixels, mask if masked else None, rows, cols, method, scale)
    other = ours(pixels, mask if masked else None, *scattered(rows, cols), method, scale)
    np.testing.assert_array_equal(one[1], other[1])
    if method in CHOOSING:
        np.testing.assert_array_equal(one[0], other[0])
    elif pixels.dtype.kind == "f" or pixels.dtype.itemsize == 8:
        most = float(np.abs(pixels.astype(np.float64)).max())
        np.testing.assert_allclose(one[0].astype(np.float64), other[0].astype(np.float64), rtol=1e-5, atol=1e-6 * most)
    else:
        assert np.abs(one[0].astype(np.int64) - other[0].astype(np.int64)).max(initial=0) <= 1


@settings(max_examples=60, deadline=None)
@given(read=reads(), general=st.booleans())
def test_reach_names_all_pixels_that_are_read(read, general) -> None:
    pixels, mask, rows, cols, method, scale = read
    if general:
        rows, cols = scattered(rows, cols)
    whole = ours(pixels, mask, rows, cols, method, scale)
    window, moved = [], []
    for places, size, scale_of_axis in ((rows, pixels.shape[0], scale[0]), (cols, pixels.shape[1], scale[1])):
        inside = np.isfinite(places)
        if not inside.any():
            return
        margin = reach(method, scale_of_axis)
        first = math.floor(places[inside].min() + EPSILON) - margin
        if method in AREA_METHODS:
            end = math.ceil(places[inside].max() - EPSILON) + margin
        else:
            end = math.floor(places[inside].max() + EPSILON) + margin + 1
        first, end = max(first, 0), min(end, size)
        if end <= first:
            return
        window.append(slice(first, end))
        moved.append(places - first)
    cut = ours(pixels[tuple(window)], mask[tuple(window)], *moved, method, scale)
    np.testing.assert_array_equal(whole[1], cut[1])
    both = whole[0].astype(np.float64), cut[0].astype(np.float64)
    atol = 0 if method in CHOOSING else 1 + 1e-6 * float(np.abs(pixels.astype(np.float64)).max())
    np.testing.assert_allclose(*both, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
@pytest.mark.parametrize("method", sorted(CHOOSING))
def test_large_integers_are_exact(method, dtype) -> None:
    limits = np.iinfo(dtype)
    pixels = np.array([[2**53 + 1, limits.max, limits.min, limits.max - 1]], dtype)
    rows, cols = identity_coordinates(pixels.shape, method)
    np.testing.assert_array_equal(ours(pixels, None, rows, cols, method)[0], pixels)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_cubic_overshoot_stops_at_the_limits_of_the_dtype(dtype) -> None:
    limits = np.iinfo(dtype)
    pixels = np.tile(np.array([limits.min, limits.min, limits.max, limits.max] * 3, dtype), (8, 1))
    out, valid = resample_points(pixels, None, np.array([4.0]), np.arange(2, 10, 0.5), "cubic")
    assert valid.all()
    assert out.max() == limits.max
    assert out.min() == limits.min


@pytest.mark.parametrize("dtype", ["int16", "float16", "float32"])
def test_halves_are_rounded_up_in_integers_only(dtype) -> None:
    pixels = np.array([[-2, -1, 0, 1]], dtype)
    out, _ = resample_points(pixels, None, np.array([0.5]), np.array([1.0, 2.0, 3.0]), "bilinear")
    expected = [[-1, 0, 1]] if dtype == "int16" else [[-1.5, -0.5, 0.5]]
    np.testing.assert_array_equal(out, np.array(expected, dtype))


def test_the_pixel_under_the_centre_decides_on_validity() -> None:
    pixels, mask = np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]])
    cols = np.array([0.9, 1.1, 1.9, 2.1])
    for method in ("nearest", "bilinear", "cubic"):
        out, valid = resample_points(pixels, mask, np.array([0.5]), cols, method)
        assert valid.tolist() == [[True, False, False, True]]
        assert out.tolist() == [[1, 0, 0, 3]]


def test_a_value_that_is_not_finite_spreads_only_where_it_has_weight() -> None:
    pixels = np.ones((6, 6))
    pixels[2, 2], pixels[4, 4] = math.nan, math.inf
    for method in METHODS:
        rows, cols = identity_coordinates(pixels.shape, method)
        for places in ((rows, cols), scattered(rows, cols)):
            np.testing.assert_array_equal(ours(pixels, None, *places, method)[0], pixels)
    out, valid = resample_points(pixels, None, np.array([2.5]), np.array([1.5, 1.75, 2.75, 3.5]), "bilinear")
    assert valid.all()
    np.testing.assert_array_equal(np.isnan(out), [[False, True, True, False]])


def test_min_and_max_pass_over_values_that_are_nan() -> None:
    pixels, mask = np.array([[math.nan, 3.0, 7.0, 1.0]]), np.array([[True, True, True, False]])
    corners = np.array([0.0, 1.0]), np.array([0.0, 4.0])
    assert resample_areas(pixels, mask, *corners, "min")[0] == 3
    assert resample_areas(pixels, mask, *corners, "max")[0] == 7


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", ["shifted", "turned, downsampled", "downsampled 5"])
def test_the_mode_counts_source_pixels(case, masked) -> None:
    pixels, mask = random_pixels("int16", classes=True), holes() if masked else None
    rows, cols = affine_coordinates(CASES[case], corners=True)
    out, valid = resample_areas(pixels, mask, rows, cols, "mode")
    np.testing.assert_array_equal(out[valid], modes(pixels, mask, rows, cols)[0][valid])


@pytest.mark.parametrize("size", [4, 18])
def test_of_values_that_are_as_frequent_the_first_to_get_there_is_the_mode(size) -> None:
    pixels = np.repeat(np.array([[2, 3, 3, 2]]), size, axis=1).astype(np.uint8)
    corners = np.array([0.0, 1.0]), np.array([0.0, 4.0 * size])
    assert resample_areas(pixels, None, *corners, "mode")[0] == 3
    mask = np.ones(pixels.shape, np.bool_)
    mask[0, 2 * size - 1] = False
    assert resample_areas(pixels, mask, *corners, "mode")[0] == 2


@pytest.mark.parametrize("method", METHODS)
def test_one_large_box_among_small_ones_agrees_with_the_separable_form(method) -> None:
    pixels = random_pixels("uint8", (90, 80), classes=True)
    mask = holes((90, 80))
    rows, cols = np.array([0.0, 1.5, 3.0, 70.0, 71.0]), np.array([0.5, 1.5, 60.5, 62.0, 79.0])
    one = ours(pixels, mask, rows, cols, method)
    other = ours(pixels, mask, *scattered(rows, cols), method)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("method", METHODS)
def test_rows_in_threads_give_the_same_pixels(method) -> None:
    pixels, mask = random_pixels("uint16", (300, 310)), holes((300, 310))
    corners = int(method in AREA_METHODS)
    case = Case(Affine.translation(3, 2) @ Affine.rotation(1.5), (280, 270))
    rows, cols = affine_coordinates(case, corners=bool(corners))
    whole = ours(pixels, mask, rows, cols, method)

    def part(start: int) -> tuple[np.ndarray, np.ndarray]:
        some = slice(start, start + 40 + corners)
        return ours(pixels, mask, rows[some], cols[some], method)

    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(part, range(0, 280, 40)))
    for index in (0, 1):
        np.testing.assert_array_equal(np.concatenate([of_part[index] for of_part in parts]), whole[index])


@pytest.mark.parametrize("method", METHODS)
def test_sources_in_any_memory_order_give_the_same_pixels(method) -> None:
    pixels, mask = random_pixels("int16"), holes()
    rows, cols = affine_coordinates(CASES["shifted"], corners=method in AREA_METHODS)
    expected = ours(pixels, mask, rows, cols, method)
    for change in (np.asfortranarray, lambda values: np.repeat(values, 2, axis=1)[:, ::2]):
        got = ours(change(pixels), change(mask), rows, cols, method)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_source_is_left_as_it_was(method) -> None:
    pixels, mask = random_pixels("float32"), holes()
    before = pixels.copy(), mask.copy()
    rows, cols = affine_coordinates(CASES["shifted"], corners=method in AREA_METHODS)
    ours(pixels, mask, rows, cols, method)
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_read_or_to_fill_gives_invalid_pixels(method) -> None:
    rows, cols = identity_coordinates((2, 3), method)
    out, valid = ours(np.zeros((0, 5), np.uint8), None, rows, cols, method)
    assert (out.shape, out.dtype, valid.any()) == ((2, 3), np.uint8, False)
    out, valid = ours(np.ones((4, 4)), np.zeros((4, 4), np.bool_), rows, cols, method)
    assert not valid.any()
    assert not out.any()
    out, _ = ours(np.ones((4, 4)), None, rows[: len(rows) - 2], cols, method)
    assert out.shape == (0, 3)


def test_arguments_that_do_not_fit_are_refused() -> None:
    pixels, places = np.zeros((3, 3)), np.array([0.5, 1.5])
    with pytest.raises(InvalidArgumentError, match=r"'average'.*nearest, bilinear, cubic"):
        resample_points(pixels, None, places, places, "average")
    with pytest.raises(InvalidArgumentError, match=r"'cubic'.*average, mode, min, max"):
        resample_areas(pixels, None, places, places, "cubic")
    with pytest.raises(InvalidArgumentError, match="lanczos"):
        reach("lanczos", 1.0)
    with pytest.raises(InvalidArgumentError, match=r"pixels \(3, 3\) and mask \(2, 3\)"):
        resample_points(pixels, np.ones((2, 3), np.bool_), places, places, "nearest")
    with pytest.raises(InvalidArgumentError, match=r"rows \(2,\) and cols \(2, 2\)"):
        resample_points(pixels, None, places, np.ones((2, 2)), "nearest")
    with pytest.raises(InvalidArgumentError, match="one more corner"):
        resample_areas(pixels, None, places[:0], places, "min")
    with pytest.raises(InvalidArgumentError, match="complex128"):
        resample_areas(pixels.astype(np.complex128), None, places, places, "mode")
    with pytest.raises(InvalidArgumentError, match="dtype bool"):
        resample_points(pixels.astype(np.bool_), None, places, places, "nearest")


def test_reach_grows_with_downsampling() -> None:
    assert [reach(method, 1.0) for method in METHODS] == [0, 1, 2, 0, 0, 0, 0]
    assert [reach(method, 2.5) for method in METHODS] == [0, 3, 5, 0, 0, 0, 0]
    assert reach("cubic", 0.2) == 2


def test_every_method_is_of_one_kind() -> None:
    assert set(METHODS) == POINT_METHODS | AREA_METHODS
    assert not POINT_METHODS & AREA_METHODS


@pytest.mark.parametrize("offset", [(-1, 0), (0, -3)])
def test_an_offset_before_the_file_is_refused(offset: tuple[int, int]) -> None:
    pixels, places = np.ones((4, 4), np.uint8), np.array([0.5, 1.5])
    for resample, method in ((resample_points, "cubic"), (resample_areas, "average")):
        with pytest.raises(InvalidArgumentError, match=r"resampling: got offset \(.*-.*\), expected .* 0 or more"):
            resample(pixels, None, places, places, method, offset=offset)
