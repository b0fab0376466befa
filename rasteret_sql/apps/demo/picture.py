"""The demo's picture: the area on each date, in natural colours and as NDVI, over the curve of its mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

_INK, _GREY, _PAPER = "#22313f", "#8a949e", "#ffffff"
_NO_DATA = "#d9dee3"
_GREENS = ("#5c4033", "#b08d57", "#e8dcae", "#a8c66c", "#4f9d3a", "#14532d")
_MARKS = (("o", "#1b7837"), ("s", "#5a3e96"))
#: Reflectances x 10000 of middle grey and of white; between them clouds keep their shades.
_MIDDLE, _WHITE, _GAMMA = 1500.0, 8500.0, 1.1
#: Below this share of clear pixels a mean says little; its mark is hollow.
_ENOUGH_CLEAR = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """The area on one date.

    Attributes:
        when: UTC.
        crs: of the item.
        natural: uint16, (height, width, 3): red, green, blue; reflectance x 10000.
        ndvi: float32, (height, width); NaN under clouds and where there is no data.
    """

    when: np.datetime64
    crs: str
    natural: npt.NDArray[np.uint16]
    ndvi: npt.NDArray[np.float32]

    @property
    def clear_share(self) -> float:
        """Share of the pixels that are clear, 0 to 1."""
        return float(np.isfinite(self.ndvi).mean())

    @property
    def mean_ndvi(self) -> float:
        """Mean over the clear pixels; NaN where there is none."""
        clear = self.ndvi[np.isfinite(self.ndvi)]
        return float(clear.mean()) if clear.size else float("nan")


def save_picture(views: Sequence[View], path: Path, *, title: str, subtitle: str) -> None:
    """Draw the views, by date, and save them as PNG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    views = sorted(views, key=lambda view: view.when)
    greens = LinearSegmentedColormap.from_list("ndvi", _GREENS).with_extremes(bad=_NO_DATA)
    columns = len(views)
    figure = Figure(figsize=(max(1.32 * columns + 1.2, 8.0), 6.7), dpi=120, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        3,
        columns,
        height_ratios=(1, 1, 1.45),
        left=0.05,
        right=0.985,
        top=0.835,
        bottom=0.07,
        wspace=0.05,
        hspace=0.08,
    )
    for column, view in enumerate(views):
        natural = figure.add_subplot(grid[0, column])
        natural.imshow(_natural_colours(view.natural), interpolation="nearest")
        natural.set_title(_date(view.when), fontsize=9, color=_INK, pad=5)
        greenness = figure.add_subplot(grid[1, column])
        image = greenness.imshow(view.ndvi, cmap=greens, vmin=0, vmax=0.8, interpolation="nearest")
        for axes, label in ((natural, "natural colour"), (greenness, "NDVI")):
            axes.set(xticks=[], yticks=[], anchor="N")
            axes.spines[:].set_visible(False)
            if column == 0:
                axes.set_ylabel(label, fontsize=9, color=_INK)
    curve = figure.add_subplot(grid[2, :])
    _draw_curve(curve, views)
    _draw_scale(figure, curve, image)
    figure.text(0.05, 0.94, title, fontsize=15, weight="bold", color=_INK)
    figure.text(0.05, 0.9, subtitle, fontsize=9.5, color=_GREY)
    figure.savefig(path, facecolor=_PAPER)


def _draw_curve(axes: Any, views: Sequence[View]) -> None:
    """Draw the means; each date stands under its images."""
    position = {view.when: number for number, view in enumerate(views)}
    means = np.array([view.mean_ndvi for view in views])
    trusted = [number for number, view in enumerate(views) if view.clear_share >= _ENOUGH_CLEAR]
    axes.plot(trusted, means[trusted], color=_INK, linewidth=1.6, alpha=0.45, zorder=1)
    for (marker, colour), crs in zip(_MARKS, sorted({view.crs for view in views}), strict=False):
        for hollow in (False, True):
            shown = [view for view in views if view.crs == crs and (view.clear_share < _ENOUGH_CLEAR) == hollow]
            axes.scatter(
                [position[view.when] for view in shown],
                [view.mean_ndvi for view in shown],
                s=62,
                marker=marker,
                facecolor=_PAPER if hollow else colour,
                edgecolor=colour,
                linewidth=1.5,
                zorder=2,
                label=None if hollow else crs,
            )
    for number, (view, mean) in enumerate(zip(views, means, strict=True)):
        if np.isfinite(mean):
            axes.annotate(
                f"{mean:.2f}",
                (number, mean),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=_INK,
            )
        axes.text(number, 0.03, f"{100 * view.clear_share:.0f}%", ha="center", fontsize=8, color=_GREY)
    axes.text(-0.46, 0.03, "clear", fontsize=8, color=_GREY, ha="left")
    axes.set_xlim(-0.5, len(views) - 0.5)
    axes.set_ylim(0, 0.72)
    axes.set_xticks(range(len(views)), [_date(view.when) for view in views])
    axes.set_ylabel("mean NDVI of clear pixels", fontsize=9, color=_INK)
    axes.tick_params(colors=_INK, labelsize=8.5, length=0)
    axes.grid(axis="y", color="#e6eaee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c5ccd3")
    axes.legend(frameon=False, fontsize=8.5, loc="upper right", ncols=2, labelcolor=_INK)


def _draw_scale(figure: Any, axes: Any, image: Any) -> None:
    """Put the colours of NDVI into the upper left of the curve's axes."""
    inset = axes.inset_axes((0.012, 0.9, 0.16, 0.045))
    bar = figure.colorbar(image, cax=inset, orientation="horizontal", ticks=[0, 0.4, 0.8])
    inset.text(1.03, 0.5, "NDVI", transform=inset.transAxes, va="center", fontsize=8, color=_INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, colors=_INK, length=0, pad=2)


def _natural_colours(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    light = pixels.astype(np.float32) / np.float32(_MIDDLE)
    # Reinhard's curve, which reaches 1 at white.
    toned = light * (1 + light / np.float32(_WHITE / _MIDDLE) ** 2) / (1 + light)
    share: npt.NDArray[np.float32] = np.clip(toned, 0, 1) ** np.float32(1 / _GAMMA)
    share[(pixels == 0).all(axis=-1)] = 1.0
    return share


def _date(when: np.datetime64) -> str:
    return f"{when.astype('M8[s]').item():%-d %b %Y}"
