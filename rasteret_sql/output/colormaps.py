"""Colours for one band: named maps from low to high, and colours that tell classes apart.

Some maps are built in, as colours at even distances with straight lines in between; of the 256 colours that matplotlib
has under the same name, none is wrong by more than 4 of 255 in any channel (viridis 4, magma 3, RdYlGn and RdBu 1).
All others are matplotlib's, where it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy.typing as npt

    Colors = npt.NDArray[np.uint8]

#: Colours of the maps that are built in, from low to high, in hexadecimal.
_BUILT_IN: Final = {
    "gray": "000000 ffffff",
    "viridis": (
        "440154 470f62 481d6f 472b7a 443781 404387 3c4e8a 37598c 31648d 2d6e8e 29788e 26818e 228a8d 1f958b 1e9e88 "
        "22a784 2bb17d 3ab976 4cc26b 62ca5f 79d151 93d741 aedc2f c9e01e e3e318 fde724"
    ),
    "magma": (
        "000004 090720 1a1042 311165 4a1079 621980 792282 912b81 aa337d c23b75 d9466b ec5860 f7725c fc8e64 feaa74 "
        "fec68a fde2a3 fcfdbf"
    ),
    "RdYlGn": "a50026 d73027 f46d43 fdae61 fee08b ffffbe d9ef8b a6d96a 66bd63 1a9850 006837",
    "RdBu": "67001f b2182b d6604d f4a582 fddbc7 f7f7f6 d1e5f0 92c5de 4393c3 2166ab 053061",
}
#: Colours of classes, by value; more classes begin anew. They differ in hue first, then in lightness.
_CLASSES: Final = (
    "4e79a7 f28e2b 59a14f e15759 b07aa1 76b7b2 edc948 9c755f ff9da7 bab0ac a0cbe8 ffbe7d 8cd17d ff9d9a d4a6c8 86bcb6 "
    "f1ce63 d7b5a6 fabfd2 79706e 1f4e79 a65e12 2f6b2a 8f2f31"
)
#: Colours of the scene classification of Sentinel-2, by value, as ESA gives them.
_SCENE_CLASSES: Final = "000000 ff0000 2f2f2f 643200 00a000 ffe65a 0000ff 808080 c0c0c0 ffffff 64c8ff ff96ff"
_SCENE_NAME: Final = "scl"
#: More values than this are no classes.
MAX_CLASSES: Final = 24
BUILT_IN: Final = tuple(_BUILT_IN)


def colormap_colors(name: str) -> Colors:
    """Give 256 colours of a map, from low to high, uint8 (256, 3).

    Args:
        name: one of `BUILT_IN` or of matplotlib's; with "_r" at its end it runs from high to low.

    Raises:
        InvalidArgumentError: there is no such map, or matplotlib, which may have it, is not installed.
    """
    base, is_reversed = (name[:-2], True) if name.endswith("_r") else (name, False)
    # matplotlib has "grey" too.
    anchors = _BUILT_IN.get({"grey": "gray"}.get(base, base))
    colors = _matplotlib_colors(name) if anchors is None else _between(_hexadecimal(anchors))
    return colors[::-1] if is_reversed and anchors is not None else colors


def class_colors(values: npt.NDArray[Any], band: str) -> Colors:
    """Give a colour to each of some classes, uint8 (n, 3); a class has the same one in every picture.

    Args:
        values: integers.
        band: its name; the scene classification of Sentinel-2, which is called scl, has colours of its own.
    """
    scene = _hexadecimal(_SCENE_CLASSES)
    is_scene = _SCENE_NAME in band.casefold() and not ((values < 0) | (values >= len(scene))).any()
    colors = scene if is_scene else _hexadecimal(_CLASSES)
    return colors[values.astype(np.int64) % len(colors)]


def _hexadecimal(text: str) -> Colors:
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3)


def _between(anchors: Colors) -> Colors:
    places = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def _matplotlib_colors(name: str) -> Colors:
    """Give those of one of matplotlib's maps.

    Raises:
        InvalidArgumentError: there is no such map, or matplotlib is not installed.
    """
    built_in = ", ".join(BUILT_IN)
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise InvalidArgumentError(
            f"colormap: got {name!r}, expected one of {built_in}, for matplotlib, which has others, is not installed; "
            "run pip install 'rasteret-sql[plot]'"
        ) from error
    try:
        chosen = colormaps[name]
    except (KeyError, ValueError) as error:
        raise InvalidArgumentError(
            f"colormap: got {name!r}, expected one of {built_in}, or of matplotlib's, such as 'terrain'; see "
            "matplotlib.colormaps"
        ) from error
    return cast("Colors", chosen(np.linspace(0, 1, 256), bytes=True)[:, :3])
