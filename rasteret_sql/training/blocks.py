"""Chips by the blocks of files, and parts of a dataset by blocks of ground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.checks import check_flag, shown, whole_number_of
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import checked_size
from rasteret_sql.training.splits import check_seed
from rasteret_sql.training.torchgeo import require_torchgeo

if TYPE_CHECKING:
    from rasteret_sql.training.samplers import BlockGeoSampler

#: Chips of an epoch are drawn at once.
_MOST_CHIPS: Final = 1 << 31


def block_sampler(
    dataset: Any,
    size: int | tuple[int, int] | None = None,
    *,
    length: int | None = None,
    shuffle: bool = False,
    chips_per_block: int = 1,
    roi: Any = None,
    generator: Any = None,
) -> BlockGeoSampler:
    """Sample chips that lie inside the blocks of files, so that a chip of a block's size reads one block of each file.

    Blocks are the tiles or strips in which files are stored; the index knows them. A chip that is larger than a block
    begins at the corner of a block. Chips never reach beyond an image, a row of the dataset, or `roi`.

    Args:
        dataset: what `to_torchgeo` or `from_handoff` made, a split of it, or what `&` and `|` make of it. Its CRS and
            pixel size are those of the files, or of one of their overviews.
        size: pixels of a chip, one number or (height, width); None for the size of a block.
        length: how many chips are drawn at random for an epoch; None for a grid of all chips, each once.
        shuffle: whether the grid is in random order. Chips of one block stay together.
        chips_per_block: how many chips in a row are drawn of the same block. A batch reads a block once.
        roi: a Shapely geometry in the CRS of the dataset that covers each chip; None for everywhere.
        generator: a `torch.Generator`, or a seed for one; None for that of torch.

    Returns:
        A sampler for a `DataLoader`. Where the dataset has `time_series`, its chips have all times of a place, and
        otherwise the time of one row.

    Raises:
        InvalidArgumentError: an argument is wrong, files have other pixels than the dataset, or torchgeo is not
            installed.
        EmptyReadError: no chip lies whole inside.

    Example:
        >>> sampler = block_sampler(to_torchgeo("s2.parquet"), 256, length=1000)  # doctest: +SKIP
    """
    require_torchgeo("block_sampler")
    import shapely
    import torch

    from rasteret_sql.training.dataset import MAX_SIDE
    from rasteret_sql.training.samplers import BlockGeoSampler

    check_flag("shuffle", shuffle)
    for name, value in {"length": length, "chips_per_block": chips_per_block}.items():
        number = whole_number_of(value)
        if not (value is None and name == "length") and (number is None or not 1 <= number < _MOST_CHIPS):
            raise InvalidArgumentError(f"{name}: got {shown(value)}, expected a whole number from 1")
    if length is None and chips_per_block != 1:
        raise InvalidArgumentError(
            f"chips_per_block: got {shown(chips_per_block)} without length, expected both; a grid has all chips"
        )
    if length is not None and shuffle:
        raise InvalidArgumentError("shuffle: got True with length, expected one of them; chips are drawn at random")
    if roi is not None and not isinstance(roi, shapely.Geometry):
        raise InvalidArgumentError(f"roi: got {shown(roi)}, expected a Shapely geometry in the CRS of the dataset")
    seed = whole_number_of(generator)
    if seed is not None:
        check_seed("generator", seed)
        generator = torch.Generator().manual_seed(seed)
    elif generator is not None and not isinstance(generator, torch.Generator):
        raise InvalidArgumentError(f"generator: got {shown(generator)}, expected a torch.Generator or a whole number")
    pixels = None if size is None else checked_size("size", size)
    if pixels is not None and not 1 <= min(pixels) <= max(pixels) <= MAX_SIDE:
        raise InvalidArgumentError(f"size: got {shown(size)}, expected 1 to {MAX_SIDE} pixels")
    return BlockGeoSampler(
        dataset,
        pixels,
        length=length,
        shuffle=shuffle,
        chips_per_block=chips_per_block,
        roi=roi,
        generator=generator,
    )
