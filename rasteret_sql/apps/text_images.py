"""Images as text: two pixels a cell in half-blocks, in 24-bit or 256 colours, or letters from dark to bright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

_OPAQUE_FROM: Final = 128
#: From dark to bright; transparent pixels are spaces.
_LETTERS: Final = ".:-=+*#%@"
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])  # of ITU-R BT.709
#: Levels of the 6 x 6 x 6 cube in the palette of 256 colours.
_CUBE: Final = np.array([0, 95, 135, 175, 215, 255])

#: More colours than this are dithered where a terminal has 256.
_MAX_PLAIN_COLORS: Final = 64


def blocks(image: Image, *, is_true_color: bool) -> str:
    """Draw two pixels per cell: the upper one in the colour of the letter, the lower one in the background colour.

    Args:
        image: uint8 (height, width, 4).
        is_true_color: whether colours have 24 bits; otherwise they are those of the palette of 256.
    """
    if image.shape[0] % 2:
        image = np.concatenate([image, np.zeros((1, *image.shape[1:]), np.uint8)])
    there = image[..., 3] >= _OPAQUE_FROM
    codes = _color_codes(image[..., :3], there, is_true_color=is_true_color)
    lines = []
    for row in range(0, image.shape[0], 2):
        upper, lower = codes[row].tolist(), codes[row + 1].tolist()
        lines.append("".join(_block_line(zip(there[row], there[row + 1], upper, lower, strict=True))) + "\x1b[0m\n")
    return "".join(lines)


def _block_line(cells: Any) -> Iterator[str]:
    front = back = ""
    for has_upper, has_lower, upper, lower in cells:
        if has_upper or not has_lower:
            letter, wanted_front, wanted_back = ("▀", upper, lower if has_lower else "") if has_upper else (" ", "", "")
        else:
            letter, wanted_front, wanted_back = "▄", lower, ""
        changes = []
        if wanted_back != back:
            changes.append(f"48;{wanted_back}" if wanted_back else "49")
        if wanted_front and wanted_front != front:
            changes.append(f"38;{wanted_front}")
        back, front = wanted_back, wanted_front or front
        yield (f"\x1b[{';'.join(changes)}m" if changes else "") + letter


def _color_codes(colors: Image, there: npt.NDArray[np.bool_], *, is_true_color: bool) -> npt.NDArray[Any]:
    """Give the colour code behind 38 or 48 of each pixel, an array of texts (height, width)."""
    if is_true_color:
        packed = colors.astype(np.int64) @ np.array([65536, 256, 1])
        found, number = np.unique(packed, return_inverse=True)
        texts = np.array([f"2;{each >> 16};{each >> 8 & 255};{each & 255}" for each in found.tolist()], object)
    else:
        # Few colours are those of classes, and are not dithered.
        is_mixed = len(np.unique(colors.reshape(-1, 3), axis=0)) > _MAX_PLAIN_COLORS
        numbers = _dithered(colors, there) if is_mixed else _nearest_of_256(colors)
        found, number = np.unique(numbers, return_inverse=True)
        texts = np.array([f"5;{each}" for each in found.tolist()], object)
    return texts[number.reshape(colors.shape[:2])]


def _dithered(colors: Image, there: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Give colours of the usual palette that are right on average: neighbours take the error of each pixel.

    After Floyd and Steinberg (1976). Pixels of which none waits for another are done together.
    """
    height, width = colors.shape[:2]
    values = np.zeros((height + 1, width + 2, 3))
    values[:height, 1:-1] = colors
    numbers = np.zeros((height, width), np.int64)
    for step in range(width + 2 * (height - 1)):
        rows = np.arange(max(-(-(step - width + 1) // 2), 0), min(step // 2, height - 1) + 1)
        columns = step - 2 * rows
        wanted = np.clip(values[rows, columns + 1], 0, 255)
        numbers[rows, columns] = chosen = _nearest_of_256(np.rint(wanted))
        error = (wanted - _palette_colors(chosen)) * there[rows, columns, np.newaxis] / 16
        for down, right, share in ((0, 2, 7), (1, 0, 3), (1, 1, 5), (1, 2, 1)):
            values[rows + down, columns + right] += error * share
    return numbers


def _palette_colors(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give the red, green and blue of numbers of the usual palette, from 16 on."""
    cube = _CUBE[np.stack([(numbers - 16) // 36 % 6, (numbers - 16) // 6 % 6, (numbers - 16) % 6], axis=-1)]
    grey = (8 + 10 * (numbers - 232))[..., np.newaxis]
    return np.where((numbers >= 232)[..., np.newaxis], grey, cube)


def _nearest_of_256(colors: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Give the nearest colours of the usual palette's cube and greys; its first 16 are the user's to choose."""
    values = colors.astype(np.int64)
    cube = np.abs(values[..., np.newaxis] - _CUBE).argmin(axis=-1)
    grey = np.clip(np.rint((values.mean(axis=-1) - 8) / 10), 0, 23).astype(np.int64)
    from_cube = ((_CUBE[cube] - values) ** 2).sum(axis=-1)
    from_grey = ((8 + 10 * grey[..., np.newaxis] - values) ** 2).sum(axis=-1)
    nearest: npt.NDArray[np.int64] = np.where(from_grey < from_cube, 232 + grey, 16 + cube @ np.array([36, 6, 1]))
    return nearest


def letters(image: Image) -> str:
    """Draw two pixels per letter; brighter pixels get denser letters, transparent ones a space.

    Args:
        image: uint8 (height, width, 4).
    """
    half = (image.shape[0] + 1) // 2
    weight = image[..., 3] / 255.0
    light = (image[..., :3] @ _LUMINANCE) * weight
    if image.shape[0] % 2:
        light, weight = (np.concatenate([each, np.zeros((1, each.shape[1]))]) for each in (light, weight))
    light, weight = (each.reshape(half, 2, -1).sum(axis=1) for each in (light, weight))
    grey = np.divide(light, weight, out=np.zeros_like(light), where=weight > 0)
    step = np.minimum(grey / 256 * len(_LETTERS), len(_LETTERS) - 1).astype(np.int64)
    drawn = np.where(weight * 255 >= _OPAQUE_FROM, np.array(list(_LETTERS))[step], " ")
    return "".join("".join(line).rstrip() + "\n" for line in drawn.tolist())
