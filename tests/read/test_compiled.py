"""Compiled kernels give the pixels of NumPy bit for bit, and refuse arrays that do not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.geo.resampling import AREA_METHODS, METHODS
from rasteret_sql.read import compiled
from rasteret_sql.read.resample import resample_areas, resample_points
from tests.support.kernels import has_compiler, is_installed, kernels_for_tests

DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
)  # fmt: skip
NOWHERE = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e18)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    found = kernels_for_tests(tmp_path_factory.mktemp("kernels"))
    if found is None:
        pytest.skip("there is no C compiler, or hatchling is not installed")
    return found


@pytest.fixture
def in_use(kernels, monkeypatch):
    """Have reads take the kernels, and count their calls."""
    calls: list[str] = []

    class Counted:
        @staticmethod
        def resample(*arguments) -> None:
            calls.append(arguments[4])
            kernels.resample(*arguments)

    monkeypatch.setattr(compiled, "kernels", Counted)
    return calls


def pixels_of(rng: np.random.Generator, dtype: str, shape: tuple[int, int], *, extreme: bool) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        low, high = (limits.min, limits.max) if extreme else (max(limits.min, -3), 5)
        return rng.integers(low, high, shape, dtype=kind, endpoint=True)
    pixels = rng.normal(0, 10.0 ** rng.integers(-3, 4), shape)
    if extreme:
        for value in (math.nan, math.inf, -math.inf, -0.0, np.finfo(kind).max):
            pixels[rng.random(shape) < 0.06] = value
    return pixels.astype(kind)


def axis_of(rng: np.random.Generator, size: int, least: int) -> np.ndarray:
    """Positions along an axis: any start and step, forwards or backwards, some at edges and some nowhere."""
    step = rng.choice([1.0, 0.5, 2.0, -1.0, rng.uniform(0.1, 4), rng.uniform(-4, -0.1), rng.uniform(5, 60)])
    start = rng.choice([0.0, 0.5, rng.uniform(-3, size + 3), 1e-11, -1e-10, size - 1e-11, size + 1e-11])
    places = start + step * np.arange(rng.integers(least, 20))
    if rng.random() < 0.3:
        places[rng.integers(len(places))] = rng.choice(NOWHERE)
    return places


def places_of(rng: np.random.Generator, shape: tuple[int, int], form: str, least: int) -> tuple[np.ndarray, np.ndarray]:
    if form == "rotated":
        height, width = rng.integers(least, 16, 2)
        col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        angle, scale = rng.uniform(-0.2, 0.2), rng.uniform(0.2, 5)
        rows = scale * (row * math.cos(angle) + col * math.sin(angle)) + rng.uniform(-2, 2)
        return rows, scale * (col * math.cos(angle) - row * math.sin(angle)) + rng.uniform(-2, 2)
    axes = axis_of(rng, shape[0], least), axis_of(rng, shape[1], least)
    if form == "separable":
        return axes
    rows, cols = np.meshgrid(*axes, indexing="ij")
    return rows, cols


def scale_of(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Any:
    if kind == "none":
        return 1.0, 1.0
    if kind == "numbers" or len(shape) == 1:
        return float(rng.uniform(0.3, 5)), float(rng.uniform(0.3, 5))
    rows, cols = rng.uniform(0.3, 5, shape), rng.uniform(0.3, 5, shape)
    is_narrow = rng.random(shape) < 0.4
    rows[is_narrow] = cols[is_narrow] = 1
    return rows, cols


def assert_same(got, expected, *, is_choice: bool) -> None:
    np.testing.assert_array_equal(got[1], expected[1])
    assert got[0].dtype == expected[0].dtype
    # Which of 0 and -0 is the least, and which of the many NaN a NaN is, NumPy leaves open.
    same = (got[0] == expected[0]) | (np.isnan(got[0]) & np.isnan(expected[0]))
    if not is_choice:
        same &= (np.signbit(got[0]) == np.signbit(expected[0])) | np.isnan(got[0])
    assert same.all()


@settings(max_examples=1500)
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    method=st.sampled_from(METHODS),
    form=st.sampled_from(["separable", "scattered", "rotated"]),
    valid=st.sampled_from([None, 0.0, 0.2, 0.8, 0.98, 1.0]),
    scale=st.sampled_from(["none", "numbers", "arrays"]),
    extreme=st.booleans(),
    large=st.booleans(),
    offset=st.sampled_from([(0, 0), (98_765, 1_234)]),
)
def test_pixels_are_those_of_numpy_bit_for_bit(
    in_use, seed, dtype, method, form, valid, scale, extreme, large, offset
) -> None:
    rng = np.random.default_rng(seed)
    is_area = method in AREA_METHODS
    shape = tuple(rng.integers(40, 80, 2)) if large and seed % 4 == 0 else tuple(rng.integers(1, 14, 2))
    pixels = pixels_of(rng, dtype, shape, extreme=extreme)
    mask = None if valid is None else rng.random(shape) < valid
    rows, cols = places_of(rng, shape, form, 1 + is_area)
    arguments = pixels, mask, rows + offset[0], cols + offset[1], method
    scales = scale_of(rng, scale, rows.shape)

    def resampled():
        if is_area:
            return resample_areas(*arguments, offset=offset)
        return resample_points(*arguments, scales, offset=offset)

    in_use.clear()
    got = resampled()
    assert in_use == ([method] if compiled.has_kernel(pixels.dtype, method) else [])
    with rs.set_options(compiled=False):
        expected = resampled()
    assert len(in_use) <= 1
    assert_same(got, expected, is_choice=method in {"min", "max", "mode"})


@pytest.mark.parametrize("method", ["bilinear", "cubic", "average", "min"])
@pytest.mark.parametrize("masked", [False, True])
def test_large_boxes_and_wide_kernels_are_those_of_numpy(in_use, method, masked) -> None:
    rng = np.random.default_rng(3)
    pixels = pixels_of(rng, "float32", (300, 280), extreme=False)
    mask = rng.random(pixels.shape) < 0.7 if masked else None
    corners = np.array([0.0, 1.5, 3.0, 70.0, 71.0, 290.0]), np.array([0.5, 1.5, 160.5, 162.0, 279.0])
    for rows, cols in (corners, np.meshgrid(*corners, indexing="ij")):
        if method in AREA_METHODS:
            arguments = resample_areas, (pixels, mask, rows, cols, method)
        else:
            arguments = resample_points, (pixels, mask, rows, cols, method, (60.0, 45.5))
        got = arguments[0](*arguments[1])
        with rs.set_options(compiled=False):
            expected = arguments[0](*arguments[1])
        assert_same(got, expected, is_choice=method == "min")
    assert in_use == [method, method]


def call(kernels, **changes):
    """Call the kernels with arguments that fit, except for some."""
    arguments: dict[str, Any] = {
        "pixels": np.arange(12, dtype=np.uint16).reshape(3, 4), "mask": np.ones((3, 4), bool),
        "rows": np.array([0.5, 1.5]), "cols": np.array([0.5, 1.5, 2.5]), "method": "bilinear",
        "row_scale": 1.0, "col_scale": 1.0, "row_offset": 0, "col_offset": 0,
        "out": np.zeros((2, 3), np.uint16), "valid": np.zeros((2, 3), bool),
    }  # fmt: skip
    arguments |= changes
    kernels.resample(*arguments.values())
    return arguments["out"], arguments["valid"]


def test_the_arguments_of_the_next_test_fit_but_for_one(kernels) -> None:
    out, valid = call(kernels)
    np.testing.assert_array_equal(out, [[0, 1, 2], [4, 5, 6]])
    assert valid.all()


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": np.zeros(4, np.uint16)},
        {"pixels": np.zeros((2, 3, 4), np.uint16)},
        {"pixels": np.zeros((0, 4), np.uint16), "mask": None},
        {"pixels": np.zeros((3, 4), np.int16)},
        {"pixels": np.zeros((3, 4), ">u2")},
        {"pixels": np.zeros((3, 4), np.complex64)},
        {"pixels": np.zeros((3, 4), np.float16), "out": np.zeros((2, 3), np.float16)},
        {"pixels": np.zeros((3, 8), np.uint16)[:, ::2]},
        {"pixels": np.asfortranarray(np.zeros((3, 4), np.uint16))},
        {"pixels": np.zeros(25, np.uint8)[1:].view(np.uint16).reshape(3, 4)},
        {"mask": np.ones((4, 3), bool)},
        {"mask": np.ones((3, 4), np.uint8)},
        {"rows": np.zeros((2, 3))},
        {"rows": np.zeros((2, 4)), "cols": np.zeros((2, 3))},
        {"rows": np.zeros(3)},
        {"cols": np.zeros(4)},
        {"cols": np.zeros(3, np.float32)},
        {"cols": np.zeros(6)[::2]},
        {"row_scale": math.nan},
        {"col_scale": math.inf},
        {"row_scale": np.ones((3, 2))},
        {"row_scale": np.ones(2)},
        {"col_scale": np.full((2, 3), 1e9)},
        {"row_offset": 2**60},
        {"out": np.zeros((2, 3), np.uint8)},
        {"out": np.zeros((3, 2), np.uint16)},
        {"out": np.zeros(6, np.uint16)},
        {"valid": np.zeros((2, 3), np.uint8)},
        {"valid": np.zeros((1, 3), bool)},
        {"method": "lanczos"},
        {"method": "average"},
    ],
    ids=lambda change: ", ".join(f"{name}={getattr(each, 'shape', each)}" for name, each in change.items()),
)
def test_arguments_that_do_not_fit_are_errors_and_no_crash(kernels, change) -> None:
    with pytest.raises(ValueError, match=r"pixels|mask|rows|cols|scale|offset|out|valid|kernel"):
        call(kernels, **change)


@pytest.mark.parametrize(
    "change", [{"pixels": None}, {"mask": 3}, {"out": b"123456"}, {"rows": [0.5]}, {"method": None}, {"row_scale": "1"}]
)
def test_arguments_that_are_no_arrays_are_errors(kernels, change) -> None:
    with pytest.raises((TypeError, BufferError)):
        call(kernels, **change)


def test_an_array_that_may_not_be_written_is_an_error(kernels) -> None:
    out = np.zeros((2, 3), np.uint16)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        call(kernels, out=out)


def test_an_install_with_a_compiler_has_compiled_kernels() -> None:
    if not is_installed():
        pytest.skip("this checkout is on the path and not installed, so nothing was built")
    if not has_compiler():
        pytest.skip("there is no C compiler, or Python's headers are missing")
    assert compiled.kernels is not None
    assert rs.versions()["kernels"] == "compiled"


def test_versions_say_why_numpy_resamples(monkeypatch, in_use) -> None:
    assert rs.versions()["kernels"] == "compiled"
    with rs.set_options(compiled=False):
        assert rs.versions()["kernels"] == "NumPy (the option compiled is off)"
    monkeypatch.setattr(compiled, "kernels", None)
    assert rs.versions()["kernels"].startswith("NumPy (no kernels were compiled")
    assert {"rasteret_sql", "python", "numpy", "duckdb"} <= rs.versions().keys()
