"""Parts of a dataset by blocks of ground, so that training and test never see the same place."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import number_of, shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.training.torchgeo import require_torchgeo

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.training.dataset import RasteretDataset

    Floats = npt.NDArray[np.float64]

#: What generators of PyTorch take.
_SEEDS: Final = range(-(1 << 63), 1 << 64)
_SHARES: Final = "shares above 0 that add up to 1 at most"
#: Rows of all parts together: more of them are slow to sample.
_MOST_ROWS: Final = 5_000_000
#: Part of a pixel by which edges may differ: they are computed in floating point.
_SAME_PIXELS: Final = 1e-3


def split_blocks(
    dataset: RasteretDataset,
    shares: Mapping[str, float],
    *,
    block_m: float,
    gap_m: float | None = None,
    seed: int = 0,
) -> dict[str, RasteretDataset]:
    """Split a dataset by blocks of ground, so that its parts do not touch.

    The ground is cut by a grid of square blocks, counted from the origin of the CRS. A hash of the seed and the block
    gives it to one part. So a place stays in its part when items come and go, and datasets in one CRS, such as
    images and masks, are split alike. An item is cut where blocks end: a part has a row for each item and block.

    Args:
        dataset: what `to_torchgeo` or `from_handoff` made, in a CRS with units of length. Chips that were given are
            not cut, and chips that cross an edge are in no part.
        shares: parts by name, each with its share of the blocks, above 0; together 1 at most.
        block_m: length of the sides of blocks, in metres of the CRS.
        gap_m: metres between neighbouring blocks that are in no part; None for one pixel.
        seed: of the hash.

    Returns:
        The parts by name: datasets of the same kind. `block_sampler` and random samplers stay inside the rows of a
        part. The last chips of TorchGeo's grid samplers may reach beyond a row, and read what lies there.

    Raises:
        InvalidArgumentError: an argument is wrong, or the CRS is in degrees.
        EmptyReadError: a part gets no block.

    Example:
        >>> parts = split_blocks(to_torchgeo("s2.parquet"), {"train": 0.8, "test": 0.2}, block_m=5000)  # doctest: +SKIP
    """
    require_torchgeo("split_blocks")
    from rasteret_sql.training.dataset import RasteretDataset

    if not isinstance(dataset, RasteretDataset):
        raise InvalidArgumentError(
            f"dataset: got {type(dataset).__name__}, expected one of to_torchgeo or from_handoff; split both datasets "
            "before & or |"
        )
    listed = checked_shares("shares", shares)
    check_seed("seed", seed)
    metres = _metres_of(dataset)
    block, gap = check_blocks(block_m, gap_m)
    gap = max(dataset.res) if gap is None else gap / metres
    block /= metres
    if block - gap < max(dataset.res):
        raise InvalidArgumentError(
            f"block_m: got {shown(block_m)} with gaps of {gap * metres:g} m, expected blocks that hold a pixel of "
            f"{max(dataset.res) * metres:g} m"
        )
    rows, cells, boxes = _pieces(dataset, block, gap)
    part_of = _drawn(cells, list(listed.values()), seed)
    parts = {}
    for number, name in enumerate(listed):
        mine = np.flatnonzero(part_of == number)
        if not mine.size:
            raise EmptyReadError(
                f"shares: {name!r} gets none of {len(np.unique(cells, axis=0))} blocks, expected some; give a smaller "
                "block_m, another share or another seed"
            )
        parts[name] = _part(dataset, rows[mine], boxes[mine])
    return parts


def checked_shares(name: str, shares: Any, expected: str = _SHARES) -> dict[str, float]:
    """Give shares as numbers.

    Args:
        name: how messages call them.
        shares: parts by name.
        expected: what messages expect.

    Raises:
        InvalidArgumentError: they are no shares, or add up to more than 1.
    """
    if not isinstance(shares, Mapping) or not shares or not all(isinstance(each, str) for each in shares):
        raise InvalidArgumentError(f"{name}: got {shown(shares)}, expected a mapping of names to {expected}")
    values = {part: number_of(share) for part, share in shares.items()}
    listed = {part: float(value) for part, value in values.items() if value is not None and 0 < value <= 1}
    if len(listed) < len(values):
        raise InvalidArgumentError(f"{name}: got {shown(shares)}, expected {expected}")
    if math.fsum(listed.values()) > 1 + 1e-9:
        raise InvalidArgumentError(
            f"{name}: got shares that add up to {math.fsum(listed.values()):g}, expected 1 at most"
        )
    return listed


def check_blocks(block_m: Any, gap_m: Any) -> tuple[float, float | None]:
    """Give the sizes of blocks and gaps in metres.

    Raises:
        InvalidArgumentError: they are no lengths.
    """
    block, gap = number_of(block_m), number_of(gap_m)
    if block is None or not (math.isfinite(block) and block > 0):
        raise InvalidArgumentError(f"block_m: got {shown(block_m)}, expected metres above 0")
    if gap_m is not None and (gap is None or not (math.isfinite(gap) and gap >= 0)):
        raise InvalidArgumentError(f"gap_m: got {shown(gap_m)}, expected metres from 0, or None for one pixel")
    return float(block), None if gap is None else float(gap)


def check_seed(name: str, seed: Any) -> None:
    """Refuse what no generator takes as a seed.

    Raises:
        InvalidArgumentError: it is no whole number of 64 bits.
    """
    if type(seed) is not int or seed not in _SEEDS:
        raise InvalidArgumentError(f"{name}: got {shown(seed)}, expected a whole number of 64 bits")


def _metres_of(dataset: RasteretDataset) -> float:
    """Give the metres of a unit of the dataset's CRS.

    Raises:
        InvalidArgumentError: its units are degrees.
    """
    axis = dataset.crs.axis_info[0]
    if dataset.crs.is_geographic or axis.unit_name in {"degree", "radian"}:
        raise InvalidArgumentError(
            f"block_m: the dataset is in {dataset.crs.name}, with units of {axis.unit_name}, expected a CRS with units "
            "of length; give to_torchgeo crs=, such as the UTM zone of the items"
        )
    return float(axis.unit_conversion_factor)


def _pieces(
    dataset: RasteretDataset, block: float, gap: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Cut the rows of a dataset at the edges of blocks.

    Returns:
        The row of each piece, the (column, row) of its block, and the bounds (xmin, ymin, xmax, ymax) that it may have.
    """
    import shapely

    bounds = shapely.bounds(dataset.index.geometry.to_numpy())
    first = np.floor(bounds[:, :2] / block).astype(np.int64)
    counts = np.floor(bounds[:, 2:] / block).astype(np.int64) - first + 1
    total = int(counts.prod(axis=1).sum())
    if total > _MOST_ROWS:
        raise InvalidArgumentError(
            f"block_m: cuts {len(bounds)} rows into {total} pieces, expected {_MOST_ROWS} at most; give larger blocks"
        )
    rows = np.repeat(np.arange(len(bounds)), counts.prod(axis=1))
    number = np.arange(total) - np.repeat(np.cumsum(counts.prod(axis=1)) - counts.prod(axis=1), counts.prod(axis=1))
    cells = first[rows] + np.stack([number % counts[rows, 0], number // counts[rows, 0]], axis=1)
    low, high = cells * block + gap / 2, (cells + 1) * block - gap / 2
    if dataset.is_chipped:
        beside = np.array(dataset.res) * _SAME_PIXELS
        kept = ((bounds[rows, :2] >= low - beside) & (bounds[rows, 2:] <= high + beside)).all(axis=1)
        return rows[kept], cells[kept], bounds[rows[kept]]
    low, high = _to_pixels(dataset, rows, np.maximum(low, bounds[rows, :2]), np.minimum(high, bounds[rows, 2:]))
    kept = (high - low >= np.array(dataset.res) * (1 - _SAME_PIXELS)).all(axis=1)
    return rows[kept], cells[kept], np.concatenate([low, high], axis=1)[kept]


def _to_pixels(
    dataset: RasteretDataset, rows: npt.NDArray[np.int64], low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Move edges inwards to those of pixels, as counted from the corner of the item."""
    steps = np.array(dataset.res)
    item = dataset.index["item"].to_numpy()[rows]
    corner = dataset.corners()[item]
    low = corner + np.ceil((low - corner) / steps - _SAME_PIXELS) * steps
    high = corner + np.floor((high - corner) / steps + _SAME_PIXELS) * steps
    return low, high


def _drawn(cells: npt.NDArray[np.int64], shares: list[float], seed: int) -> npt.NDArray[np.int64]:
    """Give the part of each block, by a hash of its place; blocks beyond the last share have none, as a high number."""
    distinct, which = np.unique(cells, axis=0, return_inverse=True)
    ends = np.cumsum(shares)
    if ends[-1] > 1 - 1e-9:
        # The last one takes what rounding leaves.
        ends[-1] = 2.0
    drawn = [
        int.from_bytes(hashlib.md5(f"{seed}:{x}:{y}".encode(), usedforsecurity=False).digest()[:8], "little") / 2.0**64
        for x, y in distinct.tolist()
    ]
    return np.searchsorted(ends, np.array(drawn), "right")[which.ravel()]


def _part(dataset: RasteretDataset, rows: npt.NDArray[np.int64], boxes: Floats) -> RasteretDataset:
    """Give a dataset of some pieces of rows."""
    import shapely

    index = dataset.index.iloc[rows].copy()
    geometry = index.geometry.to_numpy()
    if not dataset.is_chipped:
        geometry = shapely.intersection(geometry, shapely.box(*boxes.T))
        kept = shapely.area(geometry) > 0
        index, geometry = index[kept], geometry[kept]
    part = copy.copy(dataset)
    part.index = index.set_geometry(geometry, crs=dataset.index.crs)
    return part
