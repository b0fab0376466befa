"""A few boxes that hold many points or geometries, by which the files of a read are selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.geo.crs import revolution_of

if TYPE_CHECKING:
    import numpy.typing as npt

#: More boxes would take longer than they save.
_BOXES: Final = 24


def search_boxes(bounds: npt.NDArray[np.float64], crs: str) -> Any:
    """Give a few boxes that hold all bounds, or None where all of them are empty.

    Bounds that lie near each other share a box.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each geometry, NaN of empty ones, shape (n, 4).
        crs: of the bounds.

    Returns:
        A Shapely MultiPolygon.
    """
    import shapely

    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return None
    revolution = revolution_of(crs)
    # A centimetre, so that rounding leaves no file out.
    edge = 0.01 if revolution is None else 1e-7 * revolution / 360
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    origin, span = middles.min(axis=0), max(np.ptp(middles, axis=0).max(), edge)
    cells_across = min(len(bounds), _BOXES)
    while True:
        places = np.floor((middles - origin) / span * cells_across).astype(np.int64)
        number = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
        if number.max() < _BOXES:
            break
        cells_across //= 2
    boxes = []
    for one in range(number.max() + 1):
        xmin, ymin = bounds[number == one, :2].min(axis=0) - edge
        xmax, ymax = bounds[number == one, 2:].max(axis=0) + edge
        boxes.append(shapely.box(xmin, ymin, xmax, ymax))
    return shapely.MultiPolygon(boxes)
