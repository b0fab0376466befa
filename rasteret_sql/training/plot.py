"""Pictures of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.arrays.display import PERCENTILES, stretch_limits, stretched

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

_PANEL_INCHES = 4.0


def plot_sample(sample: dict[str, Any], places: Sequence[int], *, show_titles: bool, suptitle: str | None) -> Figure:
    """Draw what a sample has of "image", "mask" and "prediction", a panel each; a series has a row of them per slice.

    Args:
        sample: tensors (C, H, W) or (T, C, H, W), masks (H, W) or (T, H, W).
        places: of the bands that are red, green and blue, or of the one that is shown in grey.
        show_titles: whether panels are named.
        suptitle: title of the figure.
    """
    from matplotlib.figure import Figure

    panels = [(name, sample[name].detach().cpu().numpy()) for name in ("image", "mask", "prediction") if name in sample]
    valid = sample["mask_valid"].cpu().numpy() if "mask_valid" in sample else None
    # A class has one colour in masks and predictions.
    classes = [values for name, values in panels if name != "image"]
    low, high = (min(map(np.min, classes)), max(map(np.max, classes))) if classes else (0, 1)
    rows = max(_slices(name, values).shape[0] for name, values in panels)
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES * rows), layout="constrained")
    axes = figure.subplots(rows, len(panels), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, (name, values) in enumerate(panels):
        for row, picture in enumerate(_slices(name, values)):
            if name == "image":
                shown = _stretched(picture[list(places)], _valid_of(valid, row, picture.shape[1:]))
                axes[row, column].imshow(shown, cmap="gray", vmin=0, vmax=255)
            else:
                axes[row, column].imshow(picture, interpolation="none", vmin=low, vmax=high)
            if show_titles:
                axes[row, column].set_title(name.capitalize() if rows == 1 else f"{name.capitalize()} {row + 1}")
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure


def _slices(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give an array with a first axis of slices."""
    return values if values.ndim == (4 if name == "image" else 3) else values[np.newaxis]


def _valid_of(valid: npt.NDArray[Any] | None, row: int, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    if valid is None:
        return np.ones(shape, bool)
    slices = valid if valid.ndim == 4 else valid[np.newaxis]
    return np.asarray(slices[min(row, len(slices) - 1)].all(axis=0), bool)


def _stretched(bands: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Stretch bands to uint8 by their percentiles; (H, W, 3) of three, (H, W) of one."""
    shown = []
    for band in bands:
        seen = valid & np.isfinite(band)
        shown.append(stretched(band, seen, stretch_limits([band[seen]], PERCENTILES)) * seen)
    return shown[0] if len(shown) == 1 else np.stack(shown, axis=-1)
