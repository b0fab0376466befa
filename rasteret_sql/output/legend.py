"""Legends under pictures: a bar of colours with its limits, or names of classes, in letters of a bitmap font.

`font.png` has the letters U+0020 to U+017F, each 8 x 13 pixels and 32 in a row. It is made from the font "8x13" of the
X Window System (misc-fixed), which is in the public domain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

_WIDTH, _HEIGHT = 8, 13  # of a letter
_FIRST, _LAST = 0x20, 0x17F
_PAPER, _INK, _EDGE = 255, 34, 190  # shades of grey
_MARGIN: Final = 6
_BAR_HEIGHT: Final = 12
#: The longest bar, in units.
_BAR_WIDTH: Final = 320
#: Pictures wider than this have letters of two pixels a dot, then of three.
_PIXELS_PER_SCALE: Final = 700
_MAX_SCALE: Final = 3
#: Letters of a name; longer names are cut.
_MAX_LETTERS: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Legend:
    """What the colours of a picture mean.

    Attributes:
        title: the band or the formula.
        bar: colours from low to high, uint8 (n, 3); empty for classes.
        limits: values of the first and the last colour of the bar.
        entries: a label and a colour, uint8 (3,), for each class.
    """

    title: str
    bar: Image
    limits: tuple[float, float] = (0.0, 1.0)
    entries: tuple[tuple[str, Image], ...] = ()


def with_legend(pixels: Image, legend: Legend) -> Image:
    """Put a legend under a picture.

    Args:
        pixels: uint8 (height, width, 4).
        legend: what is written.

    Returns:
        uint8 (height + that of the legend, width, 4). A narrow picture is widened by transparent pixels, so that the
        legend fits.
    """
    height, width = pixels.shape[:2]
    scale = min(1 + width // _PIXELS_PER_SCALE, _MAX_SCALE)
    drawn = _drawn(legend, width // scale)
    drawn = drawn.repeat(scale, axis=0).repeat(scale, axis=1)
    canvas = np.zeros((height + drawn.shape[0], max(width, drawn.shape[1]), 4), np.uint8)
    canvas[:height, :width] = pixels
    canvas[height:] = (_PAPER, _PAPER, _PAPER, 255)
    canvas[height:, : drawn.shape[1], :3] = drawn
    return canvas


def number_text(value: float) -> str:
    """Write a limit in few digits: 0.25, 1200, 3.5e+06."""
    return f"{value:.4g}"


def _drawn(legend: Legend, width: int) -> Image:
    """Draw a legend, at least as wide as it needs to be; shape (height, width, 3)."""
    parts = [_text(legend.title)]
    parts += [_classes(legend.entries, width - 2 * _MARGIN)] if legend.entries else [_bar(legend, width - 2 * _MARGIN)]
    inner = max(part.shape[1] for part in parts)
    rows = [_padded(part, inner) for part in parts]
    gap = np.full((_MARGIN // 2, inner, 3), _PAPER, np.uint8)
    body = np.concatenate([rows[0], gap, rows[1]])
    return np.pad(body, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), constant_values=_PAPER)


def _bar(legend: Legend, width: int) -> Image:
    low, high = legend.limits
    texts = [_text(number_text(value)) for value in (low, (low + high) / 2, high)]
    room = sum(text.shape[1] for text in texts) + 2 * _WIDTH
    # The middle is left out where it does not fit, and a bar is never too short for its ends.
    shortest = texts[0].shape[1] + texts[2].shape[1] + _WIDTH
    length = max(min(width, _BAR_WIDTH), shortest)
    steps = np.linspace(0, len(legend.bar) - 1, length - 2).round().astype(int)
    bar = np.full((_BAR_HEIGHT, length, 3), _EDGE, np.uint8)
    bar[1:-1, 1:-1] = legend.bar[steps]
    line = np.full((_HEIGHT, length, 3), _PAPER, np.uint8)
    line[:, : texts[0].shape[1]] = texts[0]
    line[:, length - texts[2].shape[1] :] = texts[2]
    if room <= length:
        start = (length - texts[1].shape[1]) // 2
        line[:, start : start + texts[1].shape[1]] = texts[1]
    return np.concatenate([bar, line])


def _classes(entries: Sequence[tuple[str, Image]], width: int) -> Image:
    """Draw a swatch and a label for each class, in as many columns as fit; read down, then right."""
    cells = [_entry(label, color) for label, color in entries]
    wide = max(cell.shape[1] for cell in cells) + 2 * _WIDTH
    columns = max(min(width // wide, len(cells)), 1)
    rows = -(-len(cells) // columns)
    cells = [_padded(cell, wide) for cell in cells]
    cells += [np.full_like(cells[0], _PAPER)] * (rows * columns - len(cells))
    return np.concatenate(
        [np.concatenate(cells[column * rows : (column + 1) * rows]) for column in range(columns)], axis=1
    )


def _entry(label: str, color: Image) -> Image:
    text = _text(label)
    cell = np.full((_HEIGHT + 2, _HEIGHT + _WIDTH + text.shape[1], 3), _PAPER, np.uint8)
    swatch = cell[1 : _HEIGHT + 1, :_HEIGHT]
    swatch[:] = _EDGE
    swatch[1:-1, 1:-1] = color
    cell[1 : _HEIGHT + 1, _HEIGHT + _WIDTH :] = text
    return cell


def _padded(image: Image, width: int) -> Image:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=_PAPER)


def _text(text: str) -> Image:
    """Draw a line of text, shape (13, 8 x letters, 3); a letter that the font lacks is a question mark."""
    shown = text if len(text) <= _MAX_LETTERS else text[: _MAX_LETTERS - 3] + "..."
    codes = [ord(letter) if _FIRST <= ord(letter) <= _LAST else ord("?") for letter in shown or " "]
    glyphs = _font()[np.array(codes) - _FIRST]
    line = glyphs.transpose(1, 0, 2).reshape(_HEIGHT, -1)
    return np.repeat(np.where(line > 0, np.uint8(_INK), np.uint8(_PAPER))[..., np.newaxis], 3, axis=2)


@functools.cache
def _font() -> Image:
    """Give the letters, uint8 (letters, 13, 8), 0 where there is paper."""
    import imagecodecs

    sheet = np.asarray(imagecodecs.png_decode(Path(__file__).with_name("font.png").read_bytes()))
    rows, across = sheet.shape[0] // _HEIGHT, sheet.shape[1] // _WIDTH
    return sheet.reshape(rows, _HEIGHT, across, _WIDTH).transpose(0, 2, 1, 3).reshape(-1, _HEIGHT, _WIDTH)
