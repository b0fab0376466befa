"""Images as sixels, the graphics of DEC's VT340, which many terminals show: up to 256 colours, in bands of six rows."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

MAX_COLORS: Final = 256
#: Rows of one band; each row is a bit of a letter, counted from "?".
_BAND: Final = 6
_FIRST_LETTER: Final = 63
#: Shorter runs are written letter by letter.
_MIN_RUN: Final = 4
#: Bits per channel by which colours differ, where there are too many colours.
_BITS: Final = 6
_OPAQUE_FROM: Final = 128


def sixel(image: Image, *, max_colors: int = MAX_COLORS) -> str:
    """Encode an image.

    Colours are percentages in sixels, so that each channel may be wrong by 1 of 255; with more than `max_colors` of
    them, those that are near to each other become one. Transparent pixels are not drawn.

    Args:
        image: uint8 (height, width, 4).
        max_colors: 1 to 256.
    """
    height, width = image.shape[:2]
    opaque = image[..., 3] >= _OPAQUE_FROM
    palette, numbers = quantized(image[opaque][:, :3], max(max_colors - (not opaque.all()), 1))
    if not opaque.all():
        # Decoders without transparency give the first colour to pixels that are not drawn.
        palette, numbers = np.concatenate([np.zeros((1, 3)), palette]), numbers + 1
    # The last number stands for no colour.
    of_pixel = np.full((-(-height // _BAND) * _BAND, width), len(palette), np.int64)
    of_pixel[:height][opaque] = numbers
    percent = np.rint(palette * (100 / 255)).astype(np.int64).tolist()
    # 1: pixels that are not drawn stay as they were. Pixels are square.
    head = f'\x1bP0;1;0q"1;1;{width};{height}'
    colors = "".join(f"#{number};2;{red};{green};{blue}" for number, (red, green, blue) in enumerate(percent))
    bands = [_band(of_pixel[row : row + _BAND], len(palette)) for row in range(0, len(of_pixel), _BAND)]
    return head + colors + "-".join(bands) + "\x1b\\"


def quantized(colors: Image, count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Find a palette, and the position of each colour in it.

    The set of colours is cut in two where it is widest, again and again: the group whose sum of squared distances from
    its mean is the largest, across its widest channel, at the mean. Each group becomes its mean.

    Args:
        colors: uint8 (n, 3).
        count: colours that the palette may have.

    Returns:
        The palette, float64 (m, 3) of 0 to 255, and a number for each colour, int64 (n,).
    """
    if not len(colors):
        return np.zeros((0, 3)), np.zeros(0, np.int64)
    keys = colors.astype(np.int64) @ np.array([65536, 256, 1])
    # Sorting would take ten times as long.
    is_there = np.zeros(1 << 24, np.bool_)
    is_there[keys] = True
    if np.count_nonzero(is_there) <= count:
        found = np.flatnonzero(is_there)
        exact = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.float64)
        return exact, np.searchsorted(found, keys)
    shift = 8 - _BITS
    keys = (colors >> shift).astype(np.int64) @ np.array([1 << 2 * _BITS, 1 << _BITS, 1])
    frequency = np.bincount(keys, minlength=1 << 3 * _BITS)
    used = np.flatnonzero(frequency)
    number_of = np.zeros(len(frequency), np.int64)
    number_of[used] = np.arange(len(used))
    frequency, number = frequency[used], number_of[keys]
    means = np.stack([np.bincount(number, colors[:, channel]) for channel in range(3)], axis=1) / frequency[:, None]
    groups = _groups(means, frequency, count)
    palette = np.empty((len(groups), 3))
    group_of = np.empty(len(means), np.int64)
    for place, members in enumerate(groups):
        palette[place] = np.average(means[members], axis=0, weights=frequency[members])
        group_of[members] = place
    return palette, group_of[number]


def _groups(
    means: npt.NDArray[np.float64], frequency: npt.NDArray[np.int64], count: int
) -> list[npt.NDArray[np.int64]]:
    """Cut colours into at most `count` groups, each an array of places in `means`."""
    serial = 0
    queue: list[tuple[float, int, npt.NDArray[np.int64], int]] = []

    def add(members: npt.NDArray[np.int64]) -> None:
        nonlocal serial
        weights = frequency[members]
        middle = np.average(means[members], axis=0, weights=weights)
        spread = (weights[:, None] * (means[members] - middle) ** 2).sum(axis=0)
        heapq.heappush(queue, (-float(spread.sum()), serial, members, int(spread.argmax())))
        serial += 1

    add(np.arange(len(means)))
    while len(queue) < count and queue[0][0] < 0:
        _, _, members, channel = heapq.heappop(queue)
        values = means[members, channel]
        is_above = values > np.average(values, weights=frequency[members])
        if not is_above.any() or is_above.all():
            # One value has a spread by rounding alone.
            heapq.heappush(queue, (0.0, serial, members, channel))
            serial += 1
            continue
        add(members[~is_above])
        add(members[is_above])
    return [members for _, _, members, _ in sorted(queue, key=lambda each: each[1])]


def _band(numbers: npt.NDArray[np.int64], nothing: int) -> str:
    """Encode six rows: all columns of one colour, then those of the next over them.

    Repeated columns become a count; what is empty behind the last pixel of a colour is left out.
    """
    used = np.flatnonzero(np.bincount(numbers.ravel(), minlength=nothing + 1)[:nothing])
    place_of = np.full(nothing + 1, len(used))
    place_of[used] = np.arange(len(used))
    place = place_of[numbers]
    width = numbers.shape[1]
    # The last row is for pixels that are not drawn.
    bits = np.zeros((len(used) + 1, width), np.uint8)
    for row in range(_BAND):
        bits[place[row], np.arange(width)] |= 1 << row
    lines, starts, lengths = _runs(bits[:-1])
    letters = bits[lines, starts] + np.uint8(_FIRST_LETTER)
    is_first = np.diff(lines, prepend=-1) > 0
    heads = [f"{'$' if place else ''}#{number}" for place, number in enumerate(used.tolist())]
    head_sizes = np.array([len(head) for head in heads], np.int64)
    is_long = lengths >= _MIN_RUN
    sizes = np.where(is_long, 3 + (lengths >= 10) + (lengths >= 100) + (lengths >= 1000) + (lengths >= 10_000), lengths)
    ends = np.cumsum(sizes + np.where(is_first, head_sizes[lines], 0))
    text = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    text[:] = np.repeat(letters, np.diff(ends, prepend=0))
    places = ends - sizes
    text[places[is_long]] = ord("!")
    rest, digit = lengths[is_long], ends[is_long] - 2
    while rest.any():
        some = rest > 0
        text[digit[some]] = rest[some] % 10 + ord("0")
        rest, digit = rest // 10, digit - 1
    for start, head in zip(places[is_first].tolist(), heads, strict=True):
        text[start - len(head) : start] = np.frombuffer(head.encode(), np.uint8)
    return text.tobytes().decode("ascii")


def _runs(
    bits: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give line, first column and length of each run of equal columns, but for empty ones at the end of a line."""
    is_start = np.ones(bits.shape, np.bool_)
    np.not_equal(bits[:, 1:], bits[:, :-1], out=is_start[:, 1:])
    lines, starts = np.nonzero(is_start)
    ends = np.where(np.diff(lines, append=-1) != 0, bits.shape[1], np.append(starts[1:], 0))
    is_kept = (ends < bits.shape[1]) | (bits[lines, starts] > 0)
    return lines[is_kept], starts[is_kept], (ends - starts)[is_kept]
