"""The arguments of a search, checked and brought to one form before anything is fetched. Pure: no I/O."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import LONLAT
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.plan.period import FIRST_US, LAST_US, parse_period

#: Bounds of a search: (xmin, ymin, xmax, ymax) in OGC:CRS84.
Box = tuple[float, float, float, float]

#: Largest page of STAC API servers.
MAX_PAGE_ITEMS = 10_000

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def checked_box(bbox: object) -> Box | None:
    """Check a bbox; with xmin above xmax it crosses the antimeridian.

    Raises:
        InvalidArgumentError: it is not (xmin, ymin, xmax, ymax) in degrees.
    """
    if bbox is None:
        return None
    expected = "expected four finite numbers (xmin, ymin, xmax, ymax) in degrees, longitude first"
    try:
        values = [] if isinstance(bbox, (str, bytes, Mapping)) else [float(value) for value in cast("Any", bbox)]
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"bbox: got {shown(bbox)}, {expected}") from None
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise InvalidArgumentError(f"bbox: got {shown(bbox)}, {expected}")
    xmin, ymin, xmax, ymax = values
    if ymin > ymax:
        raise InvalidArgumentError(
            f"bbox: got {values}, whose ymin {ymin} is above its ymax {ymax}; "
            f"expected (xmin, ymin, xmax, ymax): swap them"
        )
    if ymin < -90 or ymax > 90 or min(xmin, xmax) < -180 or max(xmin, xmax) > 180:
        raise InvalidArgumentError(
            f"bbox: got {values}, expected degrees, longitude -180 to 180 and latitude -90 to 90; "
            f"a bbox over the antimeridian has xmin above xmax"
        )
    if xmin > xmax and xmax + 360 - xmin > 180:
        raise InvalidArgumentError(
            f"bbox: got {values}, whose xmin {xmin} is above its xmax {xmax}; over the antimeridian that would be "
            f"{xmax + 360 - xmin:.2f} degrees wide; expected (xmin, ymin, xmax, ymax): swap them"
        )
    return xmin, ymin, xmax, ymax


def box_parts(box: Box) -> tuple[Box, ...]:
    """Split a box at the antimeridian: servers disagree on boxes that cross it.

    >>> box_parts((170.0, 0.0, -170.0, 1.0))
    ((170.0, 0.0, 180.0, 1.0), (-180.0, 0.0, -170.0, 1.0))
    """
    xmin, ymin, xmax, ymax = box
    if xmin <= xmax:
        return (box,)
    return (xmin, ymin, 180.0, ymax), (-180.0, ymin, xmax, ymax)


def checked_geometry(geometry: object) -> dict[str, Any] | None:
    """Read a geometry in any form, see `geo.geometry`; gives GeoJSON.

    Raises:
        InvalidArgumentError: it is no geometry, is empty, or is not in longitude and latitude.
    """
    if geometry is None:
        return None
    import shapely

    shape = parse_geometry(geometry, LONLAT, name="intersects")
    xmin, ymin, xmax, ymax = shape.bounds
    if xmin < -180 or xmax > 180 or ymin < -90 or ymax > 90:
        raise InvalidArgumentError(
            f"intersects: got a {shape.geom_type} with the bounds {shape.bounds}, expected longitude -180 to 180 and "
            f"latitude -90 to 90; reproject it to OGC:CRS84"
        )
    geojson: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return geojson


def checked_period(value: object) -> str | None:
    """Read STAC's datetime forms, as `read_tiles` does; gives RFC 3339 with both ends inclusive.

    A year, month or day lasts to its last microsecond: '2024-01' is
    '2024-01-01T00:00:00Z/2024-01-31T23:59:59.999999Z'. A `datetime`, a `date`, and a pair of these or of texts
    (None for an open end) are valid too; a time without an offset is UTC.

    Raises:
        InvalidArgumentError: the value is no period, or ends before it starts.
    """
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise InvalidArgumentError(f"datetime: got {shown(value)}, expected one time or two, (start, end)")
        text = "/".join(".." if one is None else _time_text(one) for one in value)
    else:
        text = _time_text(value)
    start_us, end_us = parse_period(text)
    start = ".." if start_us == FIRST_US else _timestamp(start_us)
    last = ".." if end_us == LAST_US else _timestamp(end_us - 1)
    return start if start == last else f"{start}/{last}"


def checked_names(name: str, values: object, *, example: str) -> tuple[str, ...] | None:
    """Read one text or several.

    Raises:
        InvalidArgumentError: a value is no text, or there is no value.
    """
    if values is None:
        return None
    if isinstance(values, str):
        values = [values]
    listed = list(values) if isinstance(values, Sequence | set | frozenset) else None
    if not listed or not all(isinstance(value, str) and value for value in listed):
        raise InvalidArgumentError(f"{name}: got {shown(values)}, expected a list of texts such as [{example!r}]")
    return tuple(dict.fromkeys(listed))


def checked_filter(value: object) -> Mapping[str, Any] | str | None:
    """Read a CQL2 filter: CQL2 JSON as an object or its text, or CQL2 text.

    Raises:
        InvalidArgumentError: the value is no filter.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            if value.strip():
                return value.strip()
        else:
            try:
                value = json.loads(value)
            except ValueError as error:
                raise InvalidArgumentError(f"filter: got {shown(value)}, which is not JSON: {error}") from None
    if isinstance(value, Mapping) and isinstance(value.get("op"), str) and "args" in value:
        return dict(value)
    raise InvalidArgumentError(
        f"filter: got {shown(value)}, expected CQL2 text such as 'eo:cloud_cover < 20', or CQL2 JSON such as "
        f"{{'op': '<', 'args': [{{'property': 'eo:cloud_cover'}}, 20]}}"
    )


def checked_sort(value: object) -> tuple[str, ...] | None:
    """Read the fields of an order, with "-" for descending order, or objects with `field` and `direction`.

    Raises:
        InvalidArgumentError: the value is no order.
    """
    if value is None:
        return None
    expected = "expected fields such as ['-properties.datetime', 'id'], with '-' for descending order"
    listed = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(listed, Sequence) or not listed:
        raise InvalidArgumentError(f"sortby: got {shown(value)}, {expected}")
    fields = []
    for one in listed:
        if isinstance(one, Mapping) and isinstance(one.get("field"), str):
            if one.get("direction", "asc") not in {"asc", "desc"}:
                raise InvalidArgumentError(f"sortby: got {shown(one)}, expected the direction 'asc' or 'desc'")
            fields.append(("-" if one.get("direction") == "desc" else "") + one["field"])
        elif isinstance(one, str) and one.strip().lstrip("+-"):
            fields.append(one.strip().removeprefix("+"))
        else:
            raise InvalidArgumentError(f"sortby: got {shown(one)}, {expected}")
    return tuple(fields)


def checked_count(name: str, value: object, *, most: int | None = None) -> int | None:
    """Read a whole number of at least 1.

    Raises:
        InvalidArgumentError: the value is no such number, or above `most`.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        limit = "of at least 1" if most is None else f"from 1 to {most:,}"
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected a whole number {limit}")
    return value


def _time_text(value: object) -> str:
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return value
    raise InvalidArgumentError(
        f"datetime: got {shown(value)}, expected a text such as '2024-01' or '2024-01-01/2024-02-15', or a datetime"
    )


def _timestamp(microseconds: int) -> str:
    try:
        when = _EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        raise InvalidArgumentError("datetime: expected years from 1 to 9999") from None
    return when.isoformat().replace("+00:00", "Z")
