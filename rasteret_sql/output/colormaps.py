"""Colours for one band: named maps from low to high, and colours that tell classes apart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import is_one_of, shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.expressions import Expression

    Colors = npt.NDArray[np.uint8]

#: Names of maps that messages and help texts suggest.
SUGGESTED: Final = ("gray", "viridis", "magma", "RdYlGn", "RdBu")
#: Colours of classes, by value; more classes begin anew. They differ in hue first, then in lightness.
_CLASSES: Final = (
    "4e79a7 f28e2b 59a14f e15759 b07aa1 76b7b2 edc948 9c755f ff9da7 bab0ac a0cbe8 ffbe7d 8cd17d ff9d9a d4a6c8 86bcb6 "
    "f1ce63 d7b5a6 fabfd2 79706e 1f4e79 a65e12 2f6b2a 8f2f31"
)
#: Colours of the scene classification of Sentinel-2, by value, as ESA gives them.
_SCENE_CLASSES: Final = "000000 ff0000 2f2f2f 643200 00a000 ffe65a 0000ff 808080 c0c0c0 ffffff 64c8ff ff96ff"
_SCENE_NAME: Final = "scl"
_SCENE_CLASS_NAMES: Final = (
    "no data", "saturated or defective", "dark area", "cloud shadow", "vegetation", "not vegetated", "water",
    "unclassified", "cloud, medium probability", "cloud, high probability", "thin cirrus", "snow or ice",
)  # fmt: skip
#: A band with more values than this has no classes.
MAX_CLASSES: Final = 24


def colormap_colors(name: str) -> Colors:
    """Give the 256 colours of a map, from low to high, uint8 (256, 3).

    Args:
        name: one of the maps of `cmap`, which has those of matplotlib, cmocean, ColorBrewer and others, or one that the
            process has registered with matplotlib. With "_r" at its end it runs from high to low.

    Raises:
        InvalidArgumentError: there is no such map.
    """
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    # The default of every picture of one band does without an import of 0.1 s.
    if is_one_of(name, ("gray", "gray_r")):
        return grays if name == "gray" else grays[::-1]
    from cmap import Catalog, Colormap

    if not isinstance(name, str):
        raise InvalidArgumentError(f"colormap: got {shown(name)}, expected the name of one, such as {SUGGESTED[0]!r}")
    base = name.removesuffix("_r")
    steps = np.linspace(0, 1, 256)
    try:
        # Full names such as "colorbrewer:RdBu": cmap logs a warning for a short name that several collections share.
        colors = Colormap(Catalog().resolve(base))(steps)
    except (KeyError, ValueError) as error:
        registered = sys.modules.get("matplotlib")
        if registered is None or base not in registered.colormaps:
            raise InvalidArgumentError(
                f"colormap: got {name!r}, expected {', '.join(SUGGESTED)} or another name of cmap's; "
                "https://cmap-docs.readthedocs.io/ lists them"
            ) from error
        colors = registered.colormaps[base](steps)
    # As matplotlib makes bytes of its colours.
    found = (np.asarray(colors) * 255).astype(np.uint8)[:, :3]
    return found[::-1] if name != base else found


def class_colors(values: npt.NDArray[Any], band: str) -> Colors:
    """Give a colour to each class, uint8 (n, 3); a class has the same colour in every picture.

    Args:
        values: integers.
        band: its name; the scene classification of Sentinel-2, which is called scl, has colours of its own.
    """
    colors = _hexadecimal(_SCENE_CLASSES if _is_scene(values, band) else _CLASSES)
    return colors[values.astype(np.int64) % len(colors)]


def class_names(values: npt.NDArray[Any], band: str) -> dict[int, str]:
    """Give the names of the classes of Sentinel-2's scene classification by value; none for other bands.

    Args:
        values: integers.
        band: its name.
    """
    return {int(value): _SCENE_CLASS_NAMES[int(value)] for value in values} if _is_scene(values, band) else {}


def _is_scene(values: npt.NDArray[Any], band: str) -> bool:
    count = len(_SCENE_CLASS_NAMES)
    return _SCENE_NAME in band.casefold() and not ((values < 0) | (values >= count)).any()


def formula_colormap(formula: Expression) -> str:
    """Give the map of a formula: one that diverges for a difference, whose values lie around 0, else another."""
    return "RdYlGn" if formula.is_difference else "viridis"


def is_diverging(name: str) -> bool:
    """Whether the colours of a map run from one hue over a neutral middle to another, as those of RdBu do."""
    from cmap import Catalog

    catalog = Catalog()
    try:
        info = catalog[catalog.resolve(name.removesuffix("_r"))]
    except (KeyError, ValueError):
        return False
    return str(info.category) == "diverging"


def _hexadecimal(text: str) -> Colors:
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3)
