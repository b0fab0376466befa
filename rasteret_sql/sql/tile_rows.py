"""The rows of `read_tiles` without their pixels, as an Arrow table made of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan

    Floats = npt.NDArray[np.float64]

_UNKNOWN = (float("nan"),) * 6


def tile_rows(plan: TilePlan) -> pa.Table:
    """Give the columns of `sql/schema/tiles.sql` that need no reading, one row per row of the plan."""
    assets = plan.assets
    files = {
        "collection": pa.array([asset.collection for asset in assets], pa.string()),
        "item_id": pa.array([asset.item_id for asset in assets], pa.string()),
        "asset": pa.array([asset.asset for asset in assets], pa.string()),
        "datetime": pa.array([asset.datetime_us for asset in assets], pa.timestamp("us", "UTC")),
        "level": pa.array([asset.level for asset in assets], pa.int32()),
        "crs": pa.array([asset.crs for asset in assets], pa.string()),
        "dtype": pa.array([asset.dtype for asset in assets], pa.string()),
        "href": pa.array([asset.href for asset in assets], pa.string()),
    }
    asset_no = pa.array(plan.asset_no)
    columns: dict[str, Any] = {name: column.take(asset_no) for name, column in files.items()}
    columns |= _bands(plan)
    for name in ("band", "tile_row", "tile_col", "width", "height"):
        columns[name] = pa.array(getattr(plan, name))
    columns["nodata"] = pa.array(plan.nodata, mask=~plan.has_nodata)
    columns |= _places(plan)
    return pa.table(columns)


def _bands(plan: TilePlan) -> dict[str, pa.Array]:
    """Give what is known of the band of each row."""
    numbers: dict[tuple[int, int], int] = {}
    bands = [band for asset in plan.assets for band in asset.bands]
    keys = ((asset_no, band.band) for asset_no, asset in enumerate(plan.assets) for band in asset.bands)
    for number, key in enumerate(keys):
        numbers.setdefault(key, number)
    # Rows of one band of a file are many.
    distinct, inverse = np.unique(np.stack([plan.asset_no, plan.band.astype(np.int64)]), axis=1, return_inverse=True)
    found = pa.array(np.array([numbers[key] for key in zip(*distinct.tolist(), strict=True)], np.int64))
    rows = found.take(pa.array(inverse.reshape(-1)))
    return {
        "band_name": pa.array([band.name for band in bands], pa.string()).take(rows),
        "scale": pa.array([band.scale for band in bands], pa.float64()).take(rows),
        "offset": pa.array([band.offset for band in bands], pa.float64()).take(rows),
        "unit": pa.array([band.unit for band in bands], pa.string()).take(rows),
    }


def _places(plan: TilePlan) -> dict[str, pa.Array]:
    """Give bounds and transform of each tile; NULL in a file without a transform."""
    transforms = np.array([asset.transform or _UNKNOWN for asset in plan.assets], np.float64).reshape(-1, 6)
    sizes = np.array([(asset.format.tile_width, asset.format.tile_height) for asset in plan.assets], np.int64).reshape(
        -1, 2
    )
    x_size, _, x_off, _, y_size, y_off = transforms[plan.asset_no].T
    tile_width, tile_height = sizes[plan.asset_no].T
    left, top = plan.tile_col * tile_width, plan.tile_row * tile_height
    x, y = x_off + x_size * left, y_off + y_size * top
    x_end, y_end = x_off + x_size * (left + plan.width), y_off + y_size * (top + plan.height)
    is_unknown = np.isnan(x_size)
    corners = {
        "xmin": np.minimum(x, x_end), "ymin": np.minimum(y, y_end), "xmax": np.maximum(x, x_end),
        "ymax": np.maximum(y, y_end),
    }  # fmt: skip
    sides = [_nullable(values, is_unknown) for values in corners.values()]
    zeros = np.zeros(len(plan))
    affine = np.stack([x_size, zeros, x, zeros, y_size, y], axis=1).ravel()
    values = _nullable(affine, np.isnan(affine))
    ends = pa.array(np.arange(len(plan) + 1, dtype=np.int32) * 6)
    return {
        "bounds": pa.StructArray.from_arrays(sides, list(corners)),
        "transform": pa.ListArray.from_arrays(ends, values),
    }


def _nullable(values: Floats, is_null: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=is_null)
