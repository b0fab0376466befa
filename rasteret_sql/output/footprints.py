"""A map of the footprints of an index, with matplotlib."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.checks import checked_unicode, is_one_of, shown
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.geo.antimeridian import narrowest, split_at_antimeridian
from rasteret_sql.output.plot import check_axes, import_pyplot, lonlat_aspect

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import numpy.typing as npt
    from matplotlib.axes import Axes

_PLAIN, _UNKNOWN = "#2a6f97", "#b8bec4"
#: Values of a legend; all further values share one colour.
_MAX_KINDS = 10
_MARGIN = 0.06  # of the longer side


def plot_footprints(index: Any, *, color_by: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the footprints of the items of an index on a map in longitude and latitude.

    Only the index is read. Without `color_by`, colours are darker where footprints overlap. With it, footprints are
    opaque, and later ones lie on top, so that each colour is one of the legend. A footprint over the antimeridian is
    drawn in one piece where all items lie around the antimeridian, and is cut there otherwise.

    Args:
        index: rows of an index: a DuckDB relation, an Arrow table, a Parquet path, glob or URL, or the text of a query.
        color_by: column of the index, such as "eo:cloud_cover" or "datetime". Numbers and times get a colour bar, other
            values a legend; items without a value are grey. Where assets of an item differ, the value of one counts.
        ax: axes to draw on; by default a new figure is made.

    Returns:
        The axes.

    Raises:
        InvalidArgumentError: there is no such column, or matplotlib is not installed.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: no item has a footprint.

    Example:
        >>> plot_footprints("s2.parquet", color_by="eo:cloud_cover")  # doctest: +SKIP
    """
    plt = import_pyplot("plot_footprints")
    check_axes(ax)
    footprints, values = _footprints(index, color_by)
    if ax is None:
        _, ax = plt.subplots(layout="compressed")
    pieces = _together([split_at_antimeridian(each) for each in footprints])
    if color_by is None:
        _add(ax, pieces, _PLAIN, 0.3 if len(pieces) <= 20 else 0.12)
    elif values.dtype.kind in "iufM":
        _draw_scale(ax, pieces, values, color_by)
    else:
        _draw_kinds(ax, pieces, values, color_by)
    _set_map(ax, pieces)
    return ax


def _together(footprints: Sequence[Any]) -> list[Any]:
    """Move footprints east by 360 degrees where that makes a map of all narrower."""
    import shapely

    parts, owner = shapely.get_parts(footprints, return_index=True)
    is_moved = narrowest(shapely.bounds(parts)[:, [0, 2]], 360.0) > 0
    if not is_moved.any():
        return list(footprints)
    parts[is_moved] = shapely.transform(parts[is_moved], lambda points: points + np.array([360.0, 0.0]))
    # Without the seam at the antimeridian.
    return [shapely.union_all(parts[owner == number]) for number in range(len(footprints))]


def _footprints(index: Any, color_by: str | None) -> tuple[list[Any], npt.NDArray[Any]]:
    """Give the footprint and the value of each item that has a footprint.

    Raises:
        InvalidArgumentError: there is no such column.
        InvalidIndexError: the rows are not those of an index.
        EmptyReadError: no item has a footprint.
    """
    import duckdb
    import pyarrow as pa
    import shapely

    from rasteret_sql.database.select_text import message_of
    from rasteret_sql.sql.readers import planning_cursor

    try:
        with planning_cursor() as cursor:
            table = _of_items(_relation(cursor, index), color_by).to_arrow_table()
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: the query does not run: {message_of(error)}") from error
    footprints = shapely.from_wkb(np.array(table["wkb"].to_pylist(), object))
    is_there = np.array([each is not None and not each.is_empty for each in footprints], bool)
    if not is_there.any():
        raise EmptyReadError(
            f"footprints: got {len(footprints)} items without one, expected some with; look at the index"
        )
    values = np.array(table["value"].to_pylist(), object)
    if color_by is not None and not pa.types.is_string(table["value"].type):
        values = table["value"].to_numpy()
    return list(footprints[is_there]), values[is_there]


def _relation(cursor: duckdb.DuckDBPyConnection, index: Any) -> duckdb.DuckDBPyRelation:
    import duckdb

    from rasteret_sql.database.select_text import require_select
    from rasteret_sql.sql.named_index import is_query
    from rasteret_sql.sql.unindexed import asset_rows, is_source, is_source_path

    if isinstance(index, duckdb.DuckDBPyRelation):
        return index
    is_path = isinstance(index, (str, os.PathLike))
    if is_source(index) or (is_path and not is_query(os.fspath(index)) and is_source_path(os.fspath(index))):
        # The footprints of items need no header.
        return cursor.from_arrow(asset_rows(index))
    if isinstance(index, (str, os.PathLike)):
        text = checked_unicode("index", os.fspath(index))
        return cursor.sql(require_select(cursor, text, "index") if is_query(text) else f"FROM {quote_literal(text)}")
    return cursor.from_arrow(index)


def _of_items(rows: duckdb.DuckDBPyRelation, color_by: str | None) -> duckdb.DuckDBPyRelation:
    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    missing = [name for name in ("collection", "item_id", "geometry") if name not in kinds]
    if missing:
        raise InvalidIndexError(
            f"index: got rows without the column {', '.join(missing)}, expected rows of an index made by "
            "rasteret_sql.build_index or `rasteret-sql build`"
        )
    if color_by is not None and not is_one_of(color_by, kinds):
        raise InvalidArgumentError(
            f"color_by: got {shown(color_by)}, expected a column of the index: {', '.join(kinds)}"
        )
    wkb = "ST_AsWKB(geometry)" if kinds["geometry"].startswith("GEOMETRY") else "geometry"
    value = "NULL" if color_by is None else _as_value(color_by, kinds[color_by])
    return rows.aggregate(
        f"collection, item_id, first({wkb}) AS wkb, first({value}) AS value", "collection, item_id"
    ).order("collection, item_id")


def _as_value(name: str, kind: str) -> str:
    """Give a column as numbers, times or text."""
    quoted = quote_identifier(name)
    if kind.startswith(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "U", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")):
        return quoted if kind == "UUID" else f"{quoted}::DOUBLE"
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"make_timestamp(epoch_us({quoted}))"
    return f"{quoted}::TIMESTAMP" if kind.startswith(("TIMESTAMP", "DATE")) else f"{quoted}::VARCHAR"


def _draw_scale(ax: Any, footprints: list[Any], values: npt.NDArray[Any], label: str) -> None:
    from matplotlib import dates
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    drawing: Any = dates  # it has no types
    is_time = values.dtype.kind == "M"
    numbers = np.full(len(values), np.nan)
    known = ~np.isnat(values) if is_time else np.isfinite(values.astype(np.float64))
    numbers[known] = drawing.date2num(values[known]) if is_time else values[known].astype(np.float64)
    if not known.any():
        _draw_kinds(ax, footprints, np.full(len(values), None), label)
        return
    scale = ScalarMappable(Normalize(numbers[known].min(), numbers[known].max()), "viridis")
    _add(ax, [each for each, is_known in zip(footprints, known, strict=True) if not is_known], _UNKNOWN)
    _add(
        ax, [each for each, is_known in zip(footprints, known, strict=True) if is_known], scale.to_rgba(numbers[known])
    )
    bar = ax.figure.colorbar(scale, ax=ax, label=label)
    if is_time:
        locator = drawing.AutoDateLocator()
        bar.ax.yaxis.set_major_locator(locator)
        bar.ax.yaxis.set_major_formatter(drawing.ConciseDateFormatter(locator))
    if not known.all():
        _legend(ax, {"unknown": _UNKNOWN}, None)


def _draw_kinds(ax: Any, footprints: list[Any], values: npt.NDArray[Any], label: str) -> None:
    from matplotlib import colormaps

    texts = np.array(["" if value is None else str(value) for value in values], object)
    kinds, counts = np.unique(texts[texts != ""].astype(str), return_counts=True)
    named = sorted(kinds[np.argsort(-counts, kind="stable")][:_MAX_KINDS].tolist())
    colors = dict(zip(named, (colormaps["tab10"](number) for number in range(_MAX_KINDS)), strict=False))
    rest = f"{len(kinds) - len(named)} others"
    shown: dict[str, Any] = {}
    for kind in (*named, rest, "unknown"):
        chosen = {
            rest: [each not in colors and each != "" for each in texts],
            "unknown": [each == "" for each in texts],
        }.get(kind, [each == kind for each in texts])
        picked = [each for each, is_chosen in zip(footprints, chosen, strict=True) if is_chosen]
        if picked:
            shown[kind] = colors.get(kind, "#5c6770" if kind == rest else _UNKNOWN)
            _add(ax, picked, shown[kind])
    _legend(ax, shown, label)


def _legend(ax: Any, colors: dict[str, Any], title: str | None) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=color, label=name) for name, color in colors.items()]
    ax.legend(handles=patches, title=title, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _add(ax: Any, footprints: Sequence[Any], colors: Any, alpha: float = 1.0) -> None:
    """Add footprints in one colour, or in one each: filled, with an edge."""
    import shapely
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.path import Path
    from shapely.geometry.polygon import orient

    if not len(footprints):
        return
    paths = [
        Path.make_compound_path(
            *(
                Path(shapely.get_coordinates(ring), closed=True)
                for part in shapely.get_parts(footprint)
                # Holes run the other way, so that they stay empty.
                for ring in shapely.get_rings(orient(part))
            )
        )
        for footprint in footprints
    ]
    edges = np.broadcast_to(to_rgba_array(colors), (len(paths), 4))
    faces = edges * (1, 1, 1, alpha)
    ax.add_collection(PathCollection(paths, facecolors=faces, edgecolors=edges, linewidths=1.2))


def _set_map(ax: Any, footprints: Sequence[Any]) -> None:
    import shapely
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    xmin, ymin, xmax, ymax = shapely.total_bounds(footprints)
    margin = max(xmax - xmin, ymax - ymin, 1e-6) * _MARGIN
    ax.set_xlim(xmin - margin, xmax + margin)
    ax.set_ylim(max(ymin - margin, -90), min(ymax + margin, 90))
    ax.set_aspect(lonlat_aspect((ymin + ymax) / 2))
    ax.set(xlabel="longitude", ylabel="latitude")
    for axis, sides in ((ax.xaxis, "EW"), (ax.yaxis, "NS")):
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        axis.set_major_formatter(FuncFormatter(lambda value, _, axis=axis, sides=sides: _degrees(value, axis, sides)))
    ax.grid(visible=True, color="#d9dee3", linewidth=0.6)
    ax.set_axisbelow(True)


def _degrees(value: float, axis: Any, sides: str) -> str:
    low, high = axis.get_view_interval()
    decimals = max(math.ceil(-math.log10(max(high - low, 1e-9) / 5)), 0)
    turned = round(float((value + 180) % 360 - 180), decimals)
    side = "" if turned in {0, -180} else sides[turned < 0]
    return f"{abs(turned):.{decimals}f}°{side}"
