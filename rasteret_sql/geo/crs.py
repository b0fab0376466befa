"""Coordinate reference systems: parse, name and compare them, and transform from one to another.

Threads: a PROJ object belongs to the context of the thread that made it. So each thread has its own cache of CRSs and
transformers, and no other thread uses or frees them. Threads of DuckDB cannot have one. Python forgets their
thread-local data after each call, with them pyproj frees the context, and the next call in that thread crashes the
process. So every function that DuckDB may call goes through `in_proj_thread`, which runs it in one thread of ours.

Forks: a child drops the cache of the thread that forked, for PROJ's database is a file that the parent reads too. The
thread of `in_proj_thread` does not exist in the child; the first call there starts another one.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.utm import is_lonlat, utm_zone
from rasteret_sql.io import fork

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

#: Longitude and latitude on WGS 84, in this order.
LONLAT: Final = "OGC:CRS84"
#: Transformers that each thread caches. Making one takes 1 to 40 milliseconds.
_CACHED_TRANSFORMERS: Final = 64
_CACHED_CRSS: Final = 256
#: Two revolutions around the Earth are less, in degrees or grads.
_NO_LONGITUDE: Final = 1000.0
#: Longitudes and latitudes at which a projection shows whether it is cylindrical.
_PROBED_LONGITUDES: Final = tuple(range(-180, 181, 15))
_PROBED_LATITUDES: Final = (0.0, 45.0)


def in_proj_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function in the one thread that works with PROJ for threads of DuckDB; see the module."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        if _local.is_proj_thread:
            return function(*arguments, **options)
        return _proj_thread.get().submit(function, *arguments, **options).result()

    return call


def parsed_crs(text: str, *, name: str = "crs") -> Any:
    """Give a `pyproj.CRS`. It is for the thread that asked.

    Args:
        text: what names or defines it.
        name: of the argument, for messages.

    Raises:
        InvalidArgumentError: it is not known.
    """
    try:
        return _local.crs(text)
    except (RuntimeError, UnicodeEncodeError) as error:
        # PROJ's errors are RuntimeErrors; their module is not imported for this.
        raise _not_a_crs(text, name) from error


def transformer(from_crs: str | None, to_crs: str | None) -> Any:
    """Give a `pyproj.Transformer`, x before y on both sides. It is for the thread that asked.

    Heights of compound CRSs are left out: they move nothing here, and PROJ gives no bounds with them.

    Raises:
        InvalidArgumentError: a CRS is not known, just one is None, or PROJ cannot transform one to the other.
    """
    return _local.transformer(from_crs, to_crs)


def normalized_crs(crs: Any, *, name: str = "crs") -> str:
    """Spell a CRS as the index does: its authority code where one says exactly the same, otherwise WKT2.

    Args:
        crs: an EPSG code as a number, an authority code, WKT, PROJJSON, a PROJ string, or an object of pyproj, odc-geo,
            rasterio or another library that has `to_wkt`.
        name: of the argument, for messages.

    Raises:
        InvalidArgumentError: it is none of them, or one without horizontal axes.
    """
    if isinstance(crs, (int, np.integer)) and not isinstance(crs, bool):
        return _spelled(f"EPSG:{int(crs)}", name)
    if isinstance(crs, str):
        return _spelled(crs, name)
    from pyproj import CRS

    try:
        return _spelled(CRS.from_user_input(crs).to_wkt(), name)
    except InvalidArgumentError:
        raise
    except Exception as error:  # an object of any library makes its WKT here
        raise _not_a_crs(crs, name) from error


@lru_cache(maxsize=256)
def check_crs(name: str, crs: str) -> None:
    """Refuse a CRS that is not known, under the name of the caller's argument.

    PROJ is not imported for the CRSs that need no PROJ; see `geo/utm`.

    Raises:
        InvalidArgumentError: it is not known, or has no horizontal axes.
    """
    if not _needs_no_proj(crs):
        in_proj_thread(normalized_crs)(crs, name=name)


@lru_cache(maxsize=1024)
def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two CRSs put x and y at the same positions, however they are spelled.

    PROJ is not imported to tell degrees, zones of UTM and Web Mercator apart: its import takes 40 ms.

    Raises:
        InvalidArgumentError: one is not known.
    """
    if one == other:
        return True
    if one is None or other is None:
        return False
    if _needs_no_proj(one) and _needs_no_proj(other) and not (is_lonlat(one) and is_lonlat(other)):
        return one.upper() == other.upper()
    return _is_same(parsed_crs(one), parsed_crs(other))


def _needs_no_proj(crs: str) -> bool:
    """Whether a CRS is one that `geo/utm` knows: degrees on (very nearly) WGS 84, a UTM zone, or Web Mercator."""
    return is_lonlat(crs) or utm_zone(crs) is not None or crs.upper() == "EPSG:3857"


@lru_cache(maxsize=1024)
def revolution_of(crs: str | None) -> float | None:
    """Give one revolution around the Earth in x: 360 in degrees. None where x is not longitude.

    Raises:
        InvalidArgumentError: the CRS is not known.
    """
    if crs is None:
        return None
    if crs in {"EPSG:4326", LONLAT}:
        return 360.0
    parsed = parsed_crs(crs)
    if not parsed.is_geographic:
        return None
    # In radians per unit: a few national CRSs are in grads.
    revolution = 2 * math.pi / parsed.axis_info[0].unit_conversion_factor
    return float(round(revolution, 6))


def revolution_at(crs: str | None, x: float) -> float | None:
    """As `revolution_of`, for the CRS of some x: no longitude is as large as most x, which spares loading PROJ."""
    return revolution_of(crs) if abs(x) < _NO_LONGITUDE else None


@lru_cache(maxsize=256)
def period_of(crs: str) -> float | None:
    """Give the period of x where the map repeats itself: as `revolution_of`, and of cylindrical projections too.

    Web Mercator has 40,075,017 m. None of projections in which a meridian is not one x, and of those of other planets.

    Raises:
        InvalidArgumentError: the CRS is not known.
    """
    revolution = revolution_of(crs)
    if revolution is not None:
        return revolution
    try:
        to_map = transformer(LONLAT, crs)
    except InvalidArgumentError:
        return None
    lon, lat = np.meshgrid(np.array(_PROBED_LONGITUDES, np.float64), _PROBED_LATITUDES)
    x, _ = to_map.transform(lon, lat)
    if not np.isfinite(x).all():
        return None
    steps = np.diff(x, axis=1)
    step = float(np.median(steps))
    # All steps of a cylindrical projection are equal but for the one over the edge of its map.
    is_odd = np.abs(steps - step) > 1e-9 * abs(step)
    is_cylindrical = step != 0 and (is_odd.sum(axis=1) <= 1).all()
    return abs(step) * 360 / (_PROBED_LONGITUDES[1] - _PROBED_LONGITUDES[0]) if is_cylindrical else None


def shortened(crs: str | None) -> str:
    """Give a CRS for a message: WKT is long."""
    text = str(crs)
    return text if len(text) <= 60 else f"{text[:57]}..."


@lru_cache(maxsize=1024)
def _spelled(text: str, name: str) -> str:
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    from rasteret_sql.tiff.definitions import codes_of

    crs = parsed_crs(text, name=name)
    if crs.is_geocentric or (crs.is_vertical and not crs.is_compound):
        raise InvalidArgumentError(f"{name}: got {crs.name}, expected one with horizontal axes, such as 'EPSG:32643'")
    try:
        for candidate in codes_of(crs):
            if _is_same(CRS.from_authority(*candidate), crs):
                return ":".join(candidate)
        return str(crs.to_wkt())
    except ProjError as error:
        raise _not_a_crs(text, name) from error


def _is_same(one: Any, other: Any) -> bool:
    """Whether two CRSs differ in the order of their axes at most: x comes first here, whatever they say."""
    if one.equals(other, ignore_axis_order=True):
        return True
    if not (one.is_projected and other.is_projected) or one.is_bound or other.is_bound:
        return False
    # PROJ ignores the order of latitude and longitude only. WKT of other libraries has projected axes swapped, too.
    axes = [sorted((axis.direction, axis.unit_conversion_factor) for axis in crs.axis_info) for crs in (one, other)]
    definition, system = one.to_json_dict(), other.to_json_dict().get("coordinate_system")
    if axes[0] != axes[1] or "coordinate_system" not in definition or system is None:
        return False
    same: bool = type(one).from_json_dict({**definition, "coordinate_system": system}).equals(other)
    return same


def _not_a_crs(crs: Any, name: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{name}: got {shown(crs)}, expected an authority code such as "
        "'EPSG:32643', an EPSG number, WKT, PROJJSON, or an object with to_wkt"
    )


def _make_crs(text: str) -> Any:
    from pyproj import CRS

    return CRS.from_user_input(text)


def _make_transformer(from_crs: str | None, to_crs: str | None) -> Any:
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    if from_crs is None or to_crs is None:
        known = to_crs if from_crs is None else from_crs
        raise InvalidArgumentError(
            f"crs: got one grid in {shortened(known)} and one without a CRS, expected both or neither; "
            "give the one that is missing"
        )
    one, other = parsed_crs(from_crs), parsed_crs(to_crs)
    try:
        one, other = (crs.to_2d() if crs.is_compound else crs for crs in (one, other))
        return Transformer.from_crs(one, other, always_xy=True)
    except ProjError as error:
        raise InvalidArgumentError(
            f"crs: PROJ knows no way from {shortened(from_crs)} to {shortened(to_crs)} ({error}); give a CRS of the "
            "same planet, or leave these rasters out"
        ) from error


class _Local(threading.local):
    """What a thread has of PROJ."""

    def __init__(self) -> None:
        self.is_proj_thread = False
        self.crs = lru_cache(_CACHED_CRSS)(_make_crs)
        self.transformer = lru_cache(_CACHED_TRANSFORMERS)(_make_transformer)

    def mark(self) -> None:
        """Note that the thread is the one of `in_proj_thread`."""
        self.is_proj_thread = True


_local = _Local()
_proj_thread = fork.PerProcess(lambda: ThreadPoolExecutor(1, "rasteret-proj", _local.mark))


@fork.on_fork
def _forget() -> None:
    """Drop what belongs to the parent."""
    _local.is_proj_thread = False
    _local.crs.cache_clear()
    _local.transformer.cache_clear()
