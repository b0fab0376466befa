"""Images in terminals: what each protocol sends is decoded back, by decoders that share nothing with the encoders."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import struct
import termios

import imagecodecs
import numpy as np
import pytest

from rasteret_sql.apps import sixel as sixels
from rasteret_sql.apps import terminal_images
from rasteret_sql.apps.terminal_images import PROTOCOLS, Room, detect, encode, fitted, room, show
from rasteret_sql.errors import InvalidArgumentError

TRUE_COLOR = {"COLORTERM": "truecolor"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


class LatinTerminal(Terminal):
    encoding = "latin-1"


def blocks(columns, rows):
    return Room("blocks", columns, rows, (1, 2), is_measured=True)


def random_image(height, width, *, channels=4, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)
    if channels == 4:
        image[..., 3] = np.where(image[..., 3] > 60, 255, 0)
        image[image[..., 3] == 0] = 0
    return image


def smooth_image(height, width):
    rows, columns = np.mgrid[:height, :width]
    channels = [columns * 255 / width, rows * 255 / height, 128 + 100 * np.sin(columns / 9) * np.cos(rows / 7)]
    return np.stack([*channels, np.full((height, width), 255.0)], axis=2).astype(np.uint8)


def read_blocks(text, colors):
    """Give what a terminal shows of half-blocks, RGBA, by the codes that it understands."""
    lines = []
    for line in text.removesuffix("\n").split("\n"):
        front = back = (0, 0, 0, 0)
        upper, lower = [], []
        for code, letter in re.findall(r"\x1b\[([\d;]*)m|([^\x1b])", line):
            if letter:
                pair = {"▀": (front, back), "▄": (back, front), " ": (back, back)}[letter]
                upper.append(pair[0])
                lower.append(pair[1])
                continue
            parts = code.split(";")
            while parts:
                first = parts.pop(0)
                if first == "0":
                    front = back = (0, 0, 0, 0)
                elif first == "49":
                    back = (0, 0, 0, 0)
                else:
                    assert first in {"38", "48"}
                    kind = parts.pop(0)
                    color = colors(kind, parts)
                    front, back = (color, back) if first == "38" else (front, color)
        lines += [upper, lower]
    return np.array(lines, np.uint8)


def true_color(kind, parts):
    assert kind == "2"
    return (*(int(parts.pop(0)) for _ in range(3)), 255)


def of_256(kind, parts):
    assert kind == "5"
    number = int(parts.pop(0))
    if number >= 232:
        return (*[8 + 10 * (number - 232)] * 3, 255)
    assert number >= 16
    steps = [0, 95, 135, 175, 215, 255]
    number -= 16
    return steps[number // 36], steps[number // 6 % 6], steps[number % 6], 255


def read_sixel(text):
    """Decode sixels as DEC STD 070 has them; gives RGBA."""
    found = re.fullmatch(r"\x1bP(\d*;\d*;\d*)q(.*)\x1b\\", text, re.DOTALL)
    assert found is not None
    assert found[1].split(";")[1] == "1"
    ratio = re.match(r'"(\d+);(\d+);(\d+);(\d+)', found[2])
    assert ratio.group(1, 2) == ("1", "1")
    width, height = int(ratio[3]), int(ratio[4])
    image = np.zeros((-(-height // 6) * 6, width, 4), np.uint8)
    palette, color, row, column, repeat = {}, None, 0, 0, 1
    tokens = re.compile(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)|([$-])|([?-~])")
    body = found[2][ratio.end() :]
    place = 0
    while place < len(body):
        token = tokens.match(body, place)
        assert token is not None, body[place : place + 20]
        place = token.end()
        if token[1]:
            color = int(token[1])
            if token[2]:
                assert all(int(part) <= 100 for part in token.group(2, 3, 4))
                palette[color] = [round(int(part) * 255 / 100) for part in token.group(2, 3, 4)]
        elif token[5]:
            repeat = int(token[5])
        elif token[6]:
            column, row = 0, row + (6 if token[6] == "-" else 0)
        else:
            bits = ord(token[7]) - 63
            for bit in range(6):
                if bits >> bit & 1:
                    image[row + bit, column : column + repeat] = [*palette[color], 255]
            column, repeat = column + repeat, 1
            assert column <= width
    assert not image[height:].any()
    assert len(palette) <= 256
    return image[:height]


@pytest.mark.parametrize("shape", [(2, 1), (40, 60), (7, 5), (1, 9)])
def test_half_blocks_show_each_pixel_in_its_colour(shape):
    image = random_image(*shape)
    shown = read_blocks(encode(image, blocks(shape[1], -(-shape[0] // 2)), TRUE_COLOR), true_color)
    np.testing.assert_array_equal(shown[: shape[0]], image)
    assert not shown[shape[0] :].any()


def test_half_blocks_are_what_a_terminal_emulator_shows():
    pyte = pytest.importorskip("pyte")
    image = random_image(20, 30, channels=3)
    screen = pyte.Screen(30, 12)
    pyte.Stream(screen).feed(encode(image, blocks(30, 10), TRUE_COLOR).replace("\n", "\r\n"))
    for row in range(10):
        for column in range(30):
            cell = screen.buffer[row][column]
            assert cell.data == "▀"
            assert cell.fg == image[2 * row, column].tobytes().hex()
            assert cell.bg == image[2 * row + 1, column].tobytes().hex()
    assert screen.buffer[10][0].bg == "default"


def test_terminals_without_24_bits_get_the_nearest_of_256_colours():
    image = random_image(8, 8, channels=3)
    shown = read_blocks(encode(image, blocks(8, 4), {"TERM": "xterm-256color"}), of_256)[..., :3].astype(int)
    steps = np.array([0, 95, 135, 175, 215, 255])
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    known = np.concatenate([cube, np.repeat(np.arange(8, 239, 10), 3).reshape(-1, 3)])
    nearest = ((known - image.reshape(-1, 1, 3).astype(int)) ** 2).sum(axis=-1).min(axis=-1)
    np.testing.assert_array_equal(((shown - image) ** 2).sum(axis=-1).ravel(), nearest)


def test_many_colours_are_right_on_average_where_a_terminal_has_256():
    image = smooth_image(60, 80)
    image[20:30, 10:50] = 0
    shown = read_blocks(encode(image, blocks(80, 30), {"TERM": "xterm-256color"}), of_256)
    np.testing.assert_array_equal(shown[..., 3], image[..., 3])
    parts = [each[30:].reshape(5, 6, 8, 10, 4).mean(axis=(1, 3))[..., :3] for each in (shown, image)]
    assert np.abs(parts[0] - parts[1]).mean() < 4
    assert np.abs(parts[0] - parts[1]).max() < 16


def test_equal_colours_are_said_once():
    image = np.full((2, 50, 3), 9, np.uint8)
    assert encode(image, blocks(50, 1), TRUE_COLOR) == "\x1b[48;2;9;9;9;38;2;9;9;9m" + "▀" * 50 + "\x1b[0m\n"


def test_letters_are_darker_where_the_image_is_and_blank_where_it_is_transparent():
    image = np.zeros((4, 9, 4), np.uint8)
    image[..., :3] = np.linspace(0, 255, 9).astype(np.uint8)[:, np.newaxis]
    image[:2, :, 3] = 255
    assert encode(image, Room("ascii", 9, 2, (1, 2)), {}) == ".:-=+*#%@\n\n"


@pytest.mark.parametrize("seed", range(3))
def test_sixels_of_few_colours_are_exact_to_a_percent(seed):
    palette = np.random.default_rng(seed).integers(0, 256, (200, 3)).astype(np.uint8)
    image = np.zeros((31, 47, 4), np.uint8)
    image[..., :3] = palette[np.random.default_rng(seed).integers(0, 200, image.shape[:2])]
    image[..., 3] = 255
    image[5:9, 10:40] = 0
    shown = read_sixel(sixels.sixel(image)).astype(int)
    np.testing.assert_array_equal(shown[..., 3], image[..., 3])
    assert np.abs(shown - image).max() <= 2


def test_sixels_of_many_colours_are_near_to_them():
    image = smooth_image(120, 200)
    shown = read_sixel(sixels.sixel(image)).astype(float)
    assert len(np.unique(image.reshape(-1, 4), axis=0)) > 10_000
    error = np.sqrt(((shown - image) ** 2).mean())
    pillow = pytest.importorskip("PIL.Image")
    reduced = pillow.fromarray(image[..., :3]).quantize(256, pillow.Quantize.MEDIANCUT, dither=pillow.Dither.NONE)
    theirs = np.sqrt(((np.asarray(reduced.convert("RGB")).astype(float) - image[..., :3]) ** 2).mean())
    assert error < theirs
    assert np.abs(shown - image).max() < 64


def test_a_palette_has_no_more_colours_than_it_may():
    colors = random_image(40, 40, channels=3).reshape(-1, 3)
    for count in (1, 2, 17, 256):
        palette, numbers = sixels.quantized(colors, count)
        assert len(palette) == count
        assert numbers.shape == (1600,)
        for number in range(0, count, 16):
            np.testing.assert_allclose(palette[number], colors[numbers == number].mean(axis=0), atol=1e-9)


def test_sixels_of_nothing_but_transparent_pixels_draw_nothing():
    assert not read_sixel(sixels.sixel(np.zeros((13, 4, 4), np.uint8))).any()


def read_kitty(text):
    found = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{head};{data}\x1b\\" for head, data in found) == text.removesuffix("\n")
    assert all(len(data) <= 4096 for _, data in found)
    assert [head[-3:] for head, _ in found] == ["m=1"] * (len(found) - 1) + ["m=0"] or len(found) == 1
    return found[0][0], imagecodecs.png_decode(base64.b64decode("".join(data for _, data in found)))


@pytest.mark.parametrize("shape", [(3, 4), (200, 300)])
def test_kitty_gets_the_pixels_in_pieces(shape):
    image = random_image(*shape)
    head, shown = read_kitty(encode(image, Room("kitty", shape[1], shape[0], (1, 1), is_measured=True), {}))
    assert head.startswith("a=T,f=100,q=2,m=")
    np.testing.assert_array_equal(shown, image)


def test_kitty_is_told_the_columns_where_cells_have_no_known_size():
    head, shown = read_kitty(encode(random_image(100, 95), Room("kitty", 10, 10, (10, 20)), {}))
    assert ",c=10," in head
    assert shown.shape == (100, 95, 4)


def test_iterm_gets_the_pixels_and_its_size_in_cells():
    image = random_image(100, 95)
    text = encode(image, Room("iterm", 10, 10, (10, 20)), {})
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\x07\n", text)
    arguments = dict(part.split("=") for part in found[1].split(";"))
    png = base64.b64decode(found[2])
    assert arguments == {
        "inline": "1", "size": str(len(png)), "width": "10", "height": "auto", "preserveAspectRatio": "1",
    }  # fmt: skip
    np.testing.assert_array_equal(imagecodecs.png_decode(png), image)


def test_tmux_passes_on_what_is_wrapped_for_it():
    image = random_image(3, 4)
    space = Room("kitty", 4, 3, (1, 1), is_measured=True)
    wrapped = encode(image, space, {"TMUX": "/tmp/tmux-0/default,1,0"}).removesuffix("\n")
    inner = re.fullmatch(r"\x1bPtmux;(.*)\x1b\\", wrapped, re.DOTALL)[1]
    assert inner.replace("\x1b\x1b", "\x1b") == encode(image, space, {}).removesuffix("\n")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "ascii"),
        ({"TERM": "dumb"}, "ascii"),
        ({}, "ascii"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230801"}, "sixel"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "210400"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, "blocks"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "screen.xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "blocks"),
        ({"TERM": "xterm-256color", "RASTERET_SQL_IMAGES": "sixel"}, "sixel"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "RASTERET_SQL_IMAGES": "kitty"}, "kitty"),
    ],
)
def test_the_environment_says_the_protocol(environment, expected):
    assert detect(Terminal(), environment) == expected


def test_what_is_no_terminal_or_has_no_blocks_gets_letters():
    assert detect(io.StringIO(), {"TERM": "xterm-kitty"}) == "ascii"
    assert detect(LatinTerminal(), {"TERM": "xterm-256color"}) == "ascii"


def test_protocols_that_are_not_there_are_refused():
    with pytest.raises(InvalidArgumentError, match="RASTERET_SQL_IMAGES: got 'gif', expected one of kitty, iterm"):
        detect(Terminal(), {"RASTERET_SQL_IMAGES": "gif"})
    with pytest.raises(InvalidArgumentError, match="protocol: got 'gif', expected one of kitty"):
        show(random_image(2, 2), Terminal(), protocol="gif")


@pytest.mark.parametrize("image", [np.zeros((2, 2)), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8), "png"])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InvalidArgumentError, match=r"image: got .*, expected uint8"):
        show(image, Terminal(), protocol="ascii")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_images_of_three_channels_are_shown(protocol):
    stream = Terminal()
    show(random_image(9, 9, channels=3), stream, columns=20, rows=10, protocol=protocol)
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().isascii() == (protocol != "blocks")


def test_large_images_are_averaged_by_area():
    image = random_image(37, 53)
    shown = fitted(image, 10, 20)
    assert shown.shape == (10, 14, 4)
    rows, columns = np.linspace(0, 37, 11), np.linspace(0, 53, 15)
    for row, column in ((0, 0), (4, 7), (9, 13)):
        down = np.clip(np.minimum(rows[row + 1], np.arange(1, 38)) - np.maximum(rows[row], np.arange(37)), 0, 1)
        across = np.clip(
            np.minimum(columns[column + 1], np.arange(1, 54)) - np.maximum(columns[column], np.arange(53)), 0, 1
        )
        weight = down[:, None] * across * (image[..., 3] / 255)
        expected = (image[..., :3] * weight[..., None]).sum(axis=(0, 1)) / weight.sum()
        np.testing.assert_allclose(shown[row, column, :3], expected, atol=0.51)


def test_small_images_are_enlarged_a_whole_number_of_times():
    image = random_image(5, 7)
    np.testing.assert_array_equal(fitted(image, 16, 100), image.repeat(3, axis=0).repeat(3, axis=1))


def test_the_terminal_says_how_much_room_there_is():
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as stream:
        termios.tcsetwinsize(child, (30, 100))
        assert room(stream, protocol="sixel") == Room("sixel", 100, 28, (10, 20))
        assert room(stream, protocol="blocks").height == 56
        import fcntl

        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 900, 540))
        assert room(stream, protocol="sixel", rows=10) == Room("sixel", 100, 10, (9, 18), is_measured=True)
    os.close(parent)


def test_without_a_terminal_the_environment_says_the_room(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("LINES", "12")
    assert room(io.StringIO(), protocol="ascii") == Room("ascii", 33, 10, (1, 2), is_measured=True)
    with pytest.raises(InvalidArgumentError, match="columns, rows: got -3 and 10, expected 1 or more"):
        room(io.StringIO(), columns=-3)


def test_nothing_is_asked_of_the_terminal():
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as stream:
        terminal_images.show(random_image(4, 4), stream, protocol="blocks")
    sent = os.read(parent, 65536).decode()
    os.close(parent)
    assert re.sub(r"\x1b\[[\d;]*m", "", sent).strip("\r\n ▀▄") == ""
