"""Images in terminals: by a graphics protocol where there is one, in half-blocks or letters elsewhere.

The environment alone decides the protocol. A terminal could be asked, but one that does not answer would make the
command wait, and the late answer of another would be typed into the shell.

Why no library does this: textual-image 0.12 asks the terminal when it is imported, has neither iTerm2's protocol nor
letters, wraps nothing for tmux, does not dither where a terminal has 256 colours, and needs Pillow and rich.
"""

from __future__ import annotations

import base64
import os
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, get_args

import numpy as np

from rasteret_sql.apps.text_images import blocks, letters
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.read.resample import resample_areas

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

Protocol = Literal["kitty", "iterm", "sixel", "blocks", "ascii"]
PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)
#: Environment variable with the protocol, for lack of an option.
VARIABLE: Final = "RASTERET_SQL_IMAGES"

#: Pixels of a cell, (width, height), where the terminal does not give them.
_USUAL_CELL: Final = (10, 20)
_DEFAULT_COLUMNS, _DEFAULT_ROWS = 80, 24
#: Rows for the prompt.
_SPARE_ROWS: Final = 2
#: Base64 characters of one kitty sequence.
_CHUNK: Final = 4096
_KITTY_PROGRAMS: Final = frozenset({"ghostty", "kitty"})
_ITERM_PROGRAMS: Final = frozenset({"iTerm.app", "WezTerm", "mintty"})
_SIXEL_PROGRAMS: Final = frozenset({"contour", "foot", "mlterm", "rio"})
_SIXEL_TERMS: Final = ("foot", "mlterm", "contour", "yaft", "sixel")
#: The first version of Konsole, as KONSOLE_VERSION has it, that shows images.
_KONSOLE_WITH_SIXEL: Final = 220400


@dataclass(frozen=True, slots=True)
class Room:
    """The space that a terminal has for an image.

    Attributes:
        protocol: how the image is sent.
        columns, rows: number of cells.
        cell: pixels of a cell, (width, height).
        is_measured: whether the terminal gave the pixels of a cell.
    """

    protocol: Protocol
    columns: int
    rows: int
    cell: tuple[int, int]
    is_measured: bool = False

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.rows * self.cell[1]

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.columns * self.cell[0]


def show(
    image: Image,
    stream: TextIO | None = None,
    *,
    columns: int | None = None,
    rows: int | None = None,
    protocol: str | None = None,
) -> None:
    """Show an image in a terminal.

    A large image is averaged down to the room of the terminal. A small one is enlarged by a whole number, so that its
    pixels are seen. Transparent pixels show the terminal's background.

    Args:
        image: uint8 (height, width, 3), or (height, width, 4) with alpha.
        stream: where it is written; stdout by default.
        columns, rows: cells that it may take; by default those of the terminal, less two rows.
        protocol: one of `PROTOCOLS`; by default the result of `detect`.

    Raises:
        InvalidArgumentError: the array is no image, or there is no such protocol.
    """
    stream = sys.stdout if stream is None else stream
    space = room(stream, columns=columns, rows=rows, protocol=protocol)
    stream.write(encode(image, space))
    stream.flush()


def detect(stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> Protocol:
    """Choose the protocol for a stream, by the environment.

    The variable RASTERET_SQL_IMAGES decides where it is set. tmux and screen, which pass no graphics on, get
    half-blocks. Half-blocks become letters with NO_COLOR, on a dumb terminal, and where the stream is no terminal or
    cannot encode them.

    Raises:
        InvalidArgumentError: the variable names no protocol.
    """
    stream = sys.stdout if stream is None else stream
    known = os.environ if environment is None else environment
    forced = known.get(VARIABLE)
    if forced:
        return _checked(forced, VARIABLE)
    term, program = known.get("TERM", ""), known.get("TERM_PROGRAM", "")
    if not stream.isatty() or term in {"", "dumb"}:
        return "ascii"
    if not (known.get("TMUX") or known.get("STY") or term.startswith(("screen", "tmux"))):
        graphics = _graphics(known, term, program)
        if graphics is not None:
            return graphics
    return "ascii" if known.get("NO_COLOR") or not _has_blocks(stream) else "blocks"


def room(
    stream: TextIO | None = None, *, columns: int | None = None, rows: int | None = None, protocol: str | None = None
) -> Room:
    """Measure the room that a stream has for an image; the arguments are those of `show`.

    Raises:
        InvalidArgumentError: there is no such protocol, or there is less than one cell.
    """
    stream = sys.stdout if stream is None else stream
    chosen = detect(stream) if protocol is None else _checked(protocol, "protocol")
    there = _window(stream)
    columns = columns or there[0]
    rows = rows or max(there[1] - _SPARE_ROWS, 1)
    if columns < 1 or rows < 1:
        raise InvalidArgumentError(f"columns, rows: got {columns} and {rows}, expected 1 or more cells")
    if chosen == "blocks":
        return Room(chosen, columns, rows, (1, 2), is_measured=True)
    if chosen == "ascii":
        # Letters are as high as half-blocks: both of a cell's pixels make one.
        return Room(chosen, columns, rows, (1, 2), is_measured=True)
    is_measured = there[2] > 0 and there[3] > 0
    cell = (max(there[2] // there[0], 1), max(there[3] // there[1], 1)) if is_measured else _USUAL_CELL
    return Room(chosen, columns, rows, cell, is_measured)


def encode(image: Image, space: Room, environment: Mapping[str, str] | None = None) -> str:
    """Encode an image as text for a terminal, ending with a line break.

    Args:
        image: uint8 (height, width, 3), or (height, width, 4) with alpha.
        space: the room of the terminal.
        environment: decides the number of colours, and whether tmux lies between; that of the process by default.

    Raises:
        InvalidArgumentError: the array is no image.
    """
    known = os.environ if environment is None else environment
    pixels = fitted(_as_rgba(image), space.height, space.width)
    if space.protocol == "blocks":
        return blocks(pixels, is_true_color=_is_true_color(known))
    if space.protocol == "ascii":
        return letters(pixels)
    if space.protocol == "sixel":
        from rasteret_sql.apps.sixel import sixel

        return sixel(pixels) + "\n"
    sequences = _kitty(pixels, space) if space.protocol == "kitty" else [_iterm(pixels, space)]
    if known.get("TMUX"):
        sequences = [_through_tmux(each) for each in sequences]
    return "".join(sequences) + "\n"


def fitted(image: Image, height: int, width: int) -> Image:
    """Fit an RGBA image: average it by area if it is too large, enlarge it a whole number of times if it is small.

    Colours are weighted by their alpha.
    """
    tall, wide = image.shape[:2]
    share = min(height / tall, width / wide)
    if share >= 1:
        times = int(share)
        return image if times == 1 else image.repeat(times, axis=0).repeat(times, axis=1)
    shape = max(round(tall * share), 1), max(round(wide * share), 1)
    weight = image[..., 3:].astype(np.float64) / 255
    layers = [image[..., channel] * weight[..., 0] for channel in range(3)]
    rows, cols = np.linspace(0, tall, shape[0] + 1), np.linspace(0, wide, shape[1] + 1)
    sums = np.stack(
        [resample_areas(layer, None, rows, cols, "average")[0] for layer in (*layers, weight[..., 0])], axis=2
    )
    alpha = sums[..., 3:]
    colors = np.divide(sums[..., :3], alpha, out=np.zeros_like(sums[..., :3]), where=alpha > 0)
    averaged: Image = np.rint(np.concatenate([colors, alpha * 255], axis=2)).astype(np.uint8)
    return averaged


def _as_rgba(image: Any) -> Image:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in {3, 4} or 0 in pixels.shape:
        raise InvalidArgumentError(
            f"image: got {pixels.dtype} {pixels.shape}, expected uint8 (height, width, 3 or 4) with a pixel or more"
        )
    if pixels.shape[2] == 4:
        return pixels
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)


def _checked(name: str, source: str) -> Protocol:
    for known in PROTOCOLS:
        if known == name:
            return known
    raise InvalidArgumentError(f"{source}: got {name!r}, expected one of {', '.join(PROTOCOLS)}")


def _graphics(known: Mapping[str, str], term: str, program: str) -> Protocol | None:
    """Give the graphics protocol of a terminal, where it is known to have one."""
    if known.get("KITTY_WINDOW_ID") or term in {"xterm-kitty", "xterm-ghostty"} or program in _KITTY_PROGRAMS:
        return "kitty"
    # ssh passes LC_TERMINAL on where it does not pass TERM_PROGRAM.
    if program in _ITERM_PROGRAMS or known.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    konsole = known.get("KONSOLE_VERSION", "")
    if konsole.isdigit() and int(konsole) >= _KONSOLE_WITH_SIXEL:
        return "sixel"
    return "sixel" if program in _SIXEL_PROGRAMS or any(name in term for name in _SIXEL_TERMS) else None


def _has_blocks(stream: TextIO) -> bool:
    try:
        "▀▄".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_true_color(known: Mapping[str, str]) -> bool:
    # tmux takes 24 bits, and gives its terminal the nearest colours.
    return known.get("COLORTERM", "") in {"truecolor", "24bit"} or bool(known.get("TMUX"))


def _window(stream: TextIO) -> tuple[int, int, int, int]:
    """Give columns, rows, and pixels across and down; 0 pixels where the terminal does not give them."""
    try:
        import fcntl
        import termios

        packed = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, across, down = struct.unpack("4H", packed)
    except (ImportError, OSError, ValueError):
        rows = columns = across = down = 0
    return (
        columns or _from_environment("COLUMNS", _DEFAULT_COLUMNS),
        (rows or _from_environment("LINES", _DEFAULT_ROWS)),
        across,
        down,
    )


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() and int(text) else default


def _kitty(image: Image, space: Room) -> list[str]:
    """Give the sequences of kitty's graphics protocol: PNG, in pieces, and no answer is asked for."""
    text = base64.b64encode(_png(image)).decode()
    pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    size = "" if space.is_measured else f",c={-(-image.shape[1] // space.cell[0])}"
    heads = [f"a=T,f=100,q=2{size},", *[""] * (len(pieces) - 1)]
    return [
        f"\x1b_G{head}m={int(number < len(pieces) - 1)};{piece}\x1b\\"
        for number, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    ]


def _iterm(image: Image, space: Room) -> str:
    """Give the sequence of iTerm2's inline images."""
    png = _png(image)
    # Its pixels are points on dense screens, so that the size is said in cells.
    columns = min(-(-image.shape[1] // space.cell[0]), space.columns)
    arguments = f"inline=1;size={len(png)};width={columns};height=auto;preserveAspectRatio=1"
    return f"\x1b]1337;File={arguments}:{base64.b64encode(png).decode()}\x07"


def _through_tmux(sequence: str) -> str:
    """Wrap a sequence so that tmux, where `allow-passthrough` is on, gives it to its terminal."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def _png(image: Image) -> bytes:
    from imagecodecs import png_encode

    return bytes(png_encode(np.ascontiguousarray(image)))
