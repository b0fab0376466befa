"""Datasets in natural colours, or a formula over their bands, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.arrays.display import checked_percentiles, rgb_places, stretch_limits, stretched
from rasteret_sql.checks import checked_list, is_one_of
from rasteret_sql.checks import shown as shown_value
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.colormaps import colormap_colors, formula_colormap
from rasteret_sql.plan.expressions import looks_like_expression, parse_expression
from rasteret_sql.tiff.nodata import valid_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import xarray as xr
    from matplotlib.axes import Axes

    from rasteret_sql.plan.expressions import Expression

#: Pixels along the longer side of a picture; larger arrays are thinned to every nth pixel.
_MAX_PIXELS = 2000
_COLUMNS, _PANEL_INCHES = 4, 3.2
_MAX_PANELS = 100
#: Colour of pixels without data: neither white, as clouds are, nor black.
_NO_DATA = "#d9dee3"


def plot_rgb(
    ds: xr.Dataset,
    bands: Sequence[str] | str | None = None,
    *,
    time: Any = None,
    percentiles: tuple[float, float] = (2, 98),
    ax: Axes | None = None,
) -> Axes | npt.NDArray[Any]:
    """Show three bands of a dataset as red, green and blue, or a formula over its bands.

    Each band is stretched from its lower to its upper percentile over valid pixels. For several times, the medians of
    their percentiles are used, so that colours can be compared, and one cloudy day does not darken all pictures. Clouds
    are bright: with more than a few per cent of clouds, give a lower upper percentile. Pixels that are invalid in any
    of the three bands, by NaN, `_FillValue` or "<band>_valid", are transparent. North is up, whichever way the rows
    run.

    A formula, such as "(nir - red) / (nir + red)", is computed from the values of the dataset. All its pictures share
    one colour bar, which diverges from 0 if the formula is a difference.

    Args:
        ds: a dataset of `to_xarray`; lazy arrays are computed. Every nth pixel of a large one is shown.
        bands: names of three variables (y, x) or (time, y, x); or one formula of names, numbers, + - * / ** and
            parentheses, in which a name that is no identifier stands in double quotes. By default red, green and blue,
            as `picture` finds them.
        time: None for all times, one small picture each; a number or a list of numbers, counted from 0; or a value
            for `ds.sel`, such as "2024-01-05" or slice("2024-01", "2024-03").
        percentiles: percentiles that become black and white, 0 to 100.
        ax: axes of one picture; by default a new figure is made.

    Returns:
        The axes of one picture, or an array of the axes of several.

    Raises:
        InvalidArgumentError: an argument is wrong, or matplotlib is not installed.

    Example:
        >>> plot_rgb(ds, ("red", "green", "blue"), time=0)  # doctest: +SKIP
    """
    plt = import_pyplot("plot_rgb")
    check_axes(ax)
    chosen = checked_percentiles(percentiles)
    if not hasattr(ds, "data_vars"):
        raise InvalidArgumentError(f"ds: got {shown_value(ds)}, expected a dataset of to_xarray")
    formula = _formula(ds, bands)
    names = list(formula.bands) if formula is not None else _three_bands(ds, bands)
    shown = _thinned(_chosen(ds, names, time))
    arrays = [_as_pictures(shown[name]) for name in names]
    count = arrays[0].sizes["time"]
    if count > 1 and ax is not None:
        raise InvalidArgumentError(
            f"ax: got one for {count} times, expected one time; choose a time with time=, or leave ax out"
        )
    if count > _MAX_PANELS:
        raise InvalidArgumentError(f"time: got {count} times, expected {_MAX_PANELS} at most; choose some of them")
    pixels, valid = zip(*(_values(shown, array) for array in arrays), strict=True)
    scale = None
    if formula is None:
        image = _natural(pixels, valid, chosen)
    else:
        image, scale = _colored(
            formula, dict(zip(names, pixels, strict=True)), dict(zip(names, valid, strict=True)), chosen
        )
    if ax is not None:
        axes = np.array([ax], object)
    else:
        down, across = -(-count // _COLUMNS), min(count, _COLUMNS)
        size = (_PANEL_INCHES * across, (_PANEL_INCHES * _steepness(arrays[0]) + 0.5) * down) if count > 1 else None
        _, axes = plt.subplots(down, across, sharex=True, sharey=True, squeeze=False, figsize=size, layout="compressed")
        axes = axes.ravel()
        for spare in axes[count:]:
            spare.set_axis_off()
    for number, title in enumerate(_titles(arrays[0])):
        _draw(axes[number], image[number], arrays[0], title)
    for number in range(count):
        # Only the outer pictures have labels.
        if number + _COLUMNS < count:
            axes[number].set_xlabel("")
        elif count > 1:
            axes[number].tick_params(labelbottom=True)
        if number % _COLUMNS:
            axes[number].set_ylabel("")
    if scale is not None and formula is not None:
        axes[0].figure.colorbar(scale, ax=axes.tolist(), label=formula.text, shrink=0.8)
    return axes[0] if count == 1 else axes[:count]


def _formula(ds: Any, bands: Any) -> Expression | None:
    """Give the formula that stands in place of bands, or None.

    Raises:
        InvalidArgumentError: it cannot be parsed, or names no variable of the dataset.
    """
    is_one = isinstance(bands, (list, tuple)) and len(bands) == 1
    label = bands[0] if is_one else bands
    if not looks_like_expression(label) or label in ds.data_vars:
        return None
    formula = parse_expression(str(label))
    unknown = [name for name in formula.bands if name not in ds.data_vars]
    if unknown:
        raise InvalidArgumentError(
            f"bands: got {unknown[0]!r} in {formula.text!r}, expected some of the dataset's variables: {_known(ds)}"
        )
    return formula


def _three_bands(ds: Any, bands: Any) -> list[str]:
    """Give red, green and blue.

    Raises:
        InvalidArgumentError: the bands are not three, or the dataset lacks one of them.
    """
    if bands is None:
        known = [str(name) for name in ds.data_vars]
        places = rgb_places(known)
        if places is None:
            raise InvalidArgumentError(
                f"bands: got none, and the dataset has no red, green and blue; expected three of {_known(ds)}"
            )
        return [known[place] for place in places]
    names = checked_list("bands", bands, "three names of variables") or []
    if len(names) != 3 or isinstance(bands, str) or any(not is_one_of(name, list(ds.data_vars)) for name in names):
        raise InvalidArgumentError(
            f"bands: got {shown_value(bands)}, expected three of the dataset's variables, or a formula over them: "
            f"{_known(ds)}"
        )
    return names


def _known(ds: Any) -> str:
    return ", ".join(str(name) for name in ds.data_vars if not str(name).endswith("_valid"))


def _natural(
    pixels: Sequence[npt.NDArray[Any]], valid: Sequence[npt.NDArray[np.bool_]], percentiles: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Stretch three bands to red, green, blue and alpha, shape (time, y, x, 4)."""
    visible = np.logical_and.reduce(valid)
    image = np.empty((*visible.shape, 4), np.uint8)
    for channel, (values, each) in enumerate(zip(pixels, valid, strict=True)):
        seen = [one[mask] for one, mask in zip(values, each, strict=True)]
        image[..., channel] = stretched(values, visible, stretch_limits(seen, percentiles))
    image[..., 3] = np.where(visible, 255, 0)
    return image


def _colored(
    formula: Expression,
    pixels: dict[str, npt.NDArray[Any]],
    valid: dict[str, npt.NDArray[np.bool_]],
    percentiles: tuple[float, float],
) -> tuple[npt.NDArray[np.uint8], Any]:
    """Colour the values of a formula; shape (time, y, x, 4), and the scale of the colour bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    values, visible = formula.compute_masked(pixels, valid)
    low, high = stretch_limits([one[mask] for one, mask in zip(values, visible, strict=True)], percentiles)
    name = formula_colormap(formula)
    if formula.is_difference:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    colors = colormap_colors(name)
    image = np.zeros((*visible.shape, 4), np.uint8)
    image[..., :3] = colors[stretched(values, visible, (low, high))]
    image[..., 3] = np.where(visible, 255, 0)
    return image, ScalarMappable(Normalize(low, high), ListedColormap(colors / 255, name))


def check_axes(ax: Any) -> None:
    """Refuse what nothing can be drawn on.

    Raises:
        InvalidArgumentError: it is given, and is no axes of matplotlib.
    """
    if ax is not None and not all(hasattr(ax, name) for name in ("add_collection", "imshow", "figure")):
        raise InvalidArgumentError(f"ax: got {shown_value(ax)}, expected axes of matplotlib, or None")


def import_pyplot(caller: str) -> Any:
    """Import matplotlib.

    Raises:
        InvalidArgumentError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise InvalidArgumentError(f"{caller}: matplotlib is required: pip install 'rasteret-sql[plot]'") from error
    return plt


def _chosen(ds: Any, names: list[str], time: Any) -> Any:
    """Select bands and times.

    Raises:
        InvalidArgumentError: the dataset lacks one of the times.
    """
    wanted = ds[names + [f"{name}_valid" for name in names if f"{name}_valid" in ds.data_vars]]
    if time is None:
        return wanted
    try:
        numbers = np.atleast_1d(time) if not isinstance(time, (str, slice)) else np.array([""])
        chosen = wanted.isel(time=numbers) if numbers.dtype.kind in "iu" else wanted.sel(time=time)
    except Exception as error:
        # pandas looks for the value, whatever it is, and quotes it.
        known = ", ".join(str(each)[:16] for each in np.atleast_1d(ds["time"].values)[:10]) if "time" in ds else "none"
        raise InvalidArgumentError(
            f"time: got {shown_value(time)}, expected some of the dataset's times: {known}"
        ) from error
    if chosen.sizes.get("time") == 0:
        raise InvalidArgumentError(
            f"time: got {shown_value(time)}, expected an interval with a time of the dataset; widen it"
        )
    return chosen


def _thinned(ds: Any) -> Any:
    """Give every nth pixel of a large dataset."""
    step = -(-max(ds.sizes[dim] for dim in ds.dims if dim != "time") // _MAX_PIXELS)
    return ds.isel({dim: slice(None, None, step) for dim in ds.dims if dim != "time"})


def _as_pictures(array: Any) -> Any:
    """Give a band as (time, y, x)."""
    if "time" not in array.dims:
        array = array.expand_dims("time")
    if array.ndim != 3:
        raise InvalidArgumentError(
            f"bands: got {shown_value(array.name)} with the dimensions {', '.join(array.dims)}, "
            "expected (time, y, x) or (y, x)"
        )
    return array.transpose("time", ...)


def _values(ds: Any, array: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Give pixels and their mask, True where valid."""
    values = array.values
    valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    for name in ("_FillValue", "nodata"):
        nodata = array.attrs.get(name)
        if nodata is not None:
            valid &= valid_pixels(values, float(nodata))
    mask = f"{array.name}_valid"
    if mask in ds.data_vars:
        valid &= _as_pictures(ds[mask]).values
    return values, valid


def _titles(array: Any) -> list[str]:
    times = array["time"].values if "time" in array.coords else [None] * array.sizes["time"]
    if not len(times) or times[0] is None or np.asarray(times).dtype.kind != "M":
        return [""] * array.sizes["time"]
    days = np.asarray(times, "M8[D]")
    unit = "D" if len(set(days.tolist())) == len(days) else "m"
    return [str(each).replace("T", " ") for each in np.asarray(times, f"M8[{unit}]")]


def _draw(ax: Any, image: npt.NDArray[np.uint8], array: Any, title: str) -> None:
    y_name, x_name = array.dims[1:]
    x_edges, y_edges = _edges(array, x_name), _edges(array, y_name)
    if y_edges[0] < y_edges[1] and _is_on_the_ground(array):
        image, y_edges = image[::-1], y_edges[::-1]
    if x_edges[0] > x_edges[1]:
        image, x_edges = image[:, ::-1], x_edges[::-1]
    ax.set_facecolor(_NO_DATA)
    ax.imshow(image, extent=(*x_edges, y_edges[1], y_edges[0]), interpolation="nearest")
    ax.set_aspect(_aspect(array))
    ax.set(xlabel=_label(array[x_name]), ylabel=_label(array[y_name]), title=title)
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.locator_params(nbins=4)


def _aspect(array: Any) -> float:
    """Give the drawn length of a unit of y, in units of x."""
    y_name, x_name = array.dims[1:]
    if "degree" not in str(array[x_name].attrs.get("units", "")):
        return 1.0
    return lonlat_aspect(float(array[y_name].values.mean()))


def _steepness(array: Any) -> float:
    """Give the ratio of a picture's height to its width."""
    y_edges, x_edges = (_edges(array, dim) for dim in array.dims[1:])
    ratio = _aspect(array) * abs(y_edges[1] - y_edges[0]) / abs(x_edges[1] - x_edges[0])
    return min(max(ratio, 0.2), 5.0)


def _is_on_the_ground(array: Any) -> bool:
    """Whether y runs up, and not down the rows of a file without a transform."""
    if array.dims[1] not in array.coords:
        return False
    return "spatial_ref" not in array.coords or "GeoTransform" in array.spatial_ref.attrs


def _edges(array: Any, dim: str) -> tuple[float, float]:
    """Give the outer edges of the first and the last pixel."""
    centres = array[dim].values.astype(np.float64)
    half = (centres[-1] - centres[0]) / (len(centres) - 1) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def _label(coordinate: Any) -> str:
    units = {"degrees_east": "°E", "degrees_north": "°N", "metre": "m"}
    unit = str(coordinate.attrs.get("units", ""))
    name = {"degrees_east": "longitude", "degrees_north": "latitude"}.get(unit, str(coordinate.name))
    return f"{name} [{units.get(unit, unit)}]" if unit else name


def lonlat_aspect(latitude: float) -> float:
    """Give the drawn length of a degree of latitude, in degrees of longitude."""
    return float(1 / max(np.cos(np.radians(latitude)), 0.05))
