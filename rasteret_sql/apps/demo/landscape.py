"""Makes pictures of a landscape that does not exist, as Sentinel-2 would see it: no data, only numpy.

Hills, a river, reservoirs, parcels whose crops follow a calendar, forest, towns and roads; over them clouds
and their shadows. Values are surface reflectance x 10000 as uint16, 0 is nodata and the offset is 0, like
products whose BOA_ADD_OFFSET has been applied. Everything follows from the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BANDS = ("blue", "green", "red", "nir")
REFLECTANCE_SCALE = 0.0001
PIXEL_M = 10.0

_PARCELS = 4096  # rows of the crop calendar; the upper half is irrigated
_FOREST, _SCRUB, _EVERGREEN, _BARREN = range(_PARCELS, _PARCELS + 4)
_DAYS = 365.25

# Reflectance in blue, green, red, near infrared.
_GROUNDS = np.array(
    [
        (0.062, 0.092, 0.136, 0.220),  # red soil
        (0.060, 0.082, 0.108, 0.172),  # dark soil
        (0.092, 0.116, 0.142, 0.196),  # rock
        (0.165, 0.205, 0.245, 0.300),  # sand
        (0.048, 0.062, 0.044, 0.020),  # water
        (0.128, 0.142, 0.158, 0.205),  # roofs and streets
        (0.098, 0.112, 0.128, 0.165),  # road
    ],
    np.float32,
)
_RED_SOIL, _DARK_SOIL, _ROCK, _SAND, _WATER, _BUILT, _ROAD = range(len(_GROUNDS))
_PLANTS = np.array(
    [
        (0.026, 0.060, 0.032, 0.430),  # crops
        (0.022, 0.042, 0.026, 0.310),  # trees
        (0.048, 0.080, 0.072, 0.270),  # shrubs and dry grass
    ],
    np.float32,
)
_CROPS, _TREES, _SHRUBS = range(len(_PLANTS))

# Sentinel-2 scene classification (SCL).
SCL_NODATA, SCL_SHADOW, SCL_VEGETATION, SCL_BARE, SCL_WATER, SCL_CLOUD, SCL_THICK_CLOUD = 0, 3, 4, 5, 6, 8, 9


@dataclass(frozen=True, slots=True)
class Scene:
    """One acquisition.

    Attributes:
        bands: uint16, (4, height, width): blue, green, red, nir; 0 is nodata.
        scl: uint8, (height / 2, width / 2): scene classification at 20 m.
        cloud_cover: per cent of the valid pixels under clouds.
    """

    bands: npt.NDArray[np.uint16]
    scl: npt.NDArray[np.uint8]
    cloud_cover: float


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What an acquisition looks like beyond the ground.

    Attributes:
        cloud_cover: wanted share of the image under clouds, 0 to 1.
        swath_edge: share of the width at which the swath ends, at mid-height; None covers it all.
        noise: standard deviation of the sensor's noise, in reflectance.
    """

    cloud_cover: float = 0.0
    swath_edge: float | None = None
    noise: float = 0.0022


@dataclass(frozen=True, slots=True)
class Landscape:
    """What does not change with the date, per pixel of 10 m; arrays have the shape (height, width).

    Attributes:
        calendar: row of the crop calendar, or one of the kinds of wild vegetation.
        ground: kind of the ground.
        plant: kind of the plants.
        brightness: factor on the ground's reflectance.
        canopy: factor on the share of the ground that plants cover.
        light: factor of the illumination.
        seed: what it was made from.
    """

    calendar: npt.NDArray[np.uint16]
    ground: npt.NDArray[np.uint8]
    plant: npt.NDArray[np.uint8]
    brightness: Floats
    canopy: Floats
    light: Floats
    seed: int

    def at(self, rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> Landscape:
        """Take the pixels (rows, cols) of this landscape, for a grid that lies askew on it."""
        return Landscape(
            calendar=self.calendar[rows, cols],
            ground=self.ground[rows, cols],
            plant=self.plant[rows, cols],
            brightness=self.brightness[rows, cols],
            canopy=self.canopy[rows, cols],
            light=self.light[rows, cols],
            seed=self.seed,
        )

    def scene(self, when: datetime, options: SceneOptions | None = None) -> Scene:
        """Look at the landscape from above on a date.

        Clouds and noise follow from the landscape's seed and the date.
        """
        options = options or SceneOptions()
        height, width = self.ground.shape
        rng = np.random.default_rng((self.seed, when.toordinal()))
        day = when.timetuple().tm_yday
        cover = _plant_cover(day, self.seed)[self.calendar] * self.canopy
        wet = np.float32(1.0 - 0.22 * _bump(day, 235, 75))
        bright = self.brightness * np.where(self.ground < _WATER, wet, np.float32(1.0))
        cloud, shadow = _clouds(rng, (height, width), options.cloud_cover)
        dark = self.light * (1 - np.float32(0.58) * shadow)
        valid = np.ones((height, width), bool)
        if options.swath_edge is not None:
            # The ground track of a descending Sentinel-2 leans some 12 degrees to the south-west.
            lean = math.tan(math.radians(12.0))
            edge = options.swath_edge * width - lean * (np.arange(height) - height / 2)
            valid = np.arange(width)[None, :] < edge[:, None]
        bands = np.empty((len(BANDS), height, width), np.uint16)
        for band in range(len(BANDS)):
            soil = _GROUNDS[:, band][self.ground] * bright
            value = _blurred((soil + cover * (_PLANTS[:, band][self.plant] - soil)) * dark)
            value += cloud * (np.float32(0.62 - 0.03 * band) + np.float32(0.22) * cloud - value)
            value += np.float32(0.006 / (band + 1))  # haze that the atmospheric correction left
            value += np.float32(options.noise) * rng.standard_normal(value.shape, dtype=np.float32)
            bands[band] = np.clip(value / np.float32(REFLECTANCE_SCALE), 1, 16000) * valid
        scl = self._classify(bands, cloud, shadow, valid)
        clouded = (cloud > 0.35) & valid
        return Scene(bands, scl, 100.0 * float(clouded.sum()) / max(1, int(valid.sum())))

    def _classify(
        self, bands: npt.NDArray[np.uint16], cloud: Floats, shadow: Floats, valid: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.uint8]:
        half = np.s_[::2, ::2]
        red, nir = bands[2][half].astype(np.float32), bands[3][half].astype(np.float32)
        scl = np.where(nir - red > 0.35 * (nir + red), SCL_VEGETATION, SCL_BARE).astype(np.uint8)
        scl[self.ground[half] == _WATER] = SCL_WATER
        scl[shadow[half] > 0.5] = SCL_SHADOW
        scl[cloud[half] > 0.35] = SCL_CLOUD
        scl[cloud[half] > 0.75] = SCL_THICK_CLOUD
        scl[~valid[half]] = SCL_NODATA
        return scl


def make_landscape(height: int, width: int, seed: int = 0) -> Landscape:
    """Make a landscape of `height` x `width` pixels of 10 m."""
    rng = np.random.default_rng(seed)
    shape = (height, width)
    hills = _noise(rng, shape, 3.4, longest=700)
    detail = _noise(rng, shape, 2.2, longest=60)
    lows = _noise(rng, shape, 3.6, longest=220)
    speckle = rng.standard_normal(shape, dtype=np.float32)
    relief = hills + 0.10 * detail
    wild = relief > 0.95 + 0.25 * lows

    river, bank = _river(rng, shape)
    block, border = _voronoi(rng, shape, 58.0, lows)
    calendar, edge = _parcels(rng, block, river < 90 + 30 * lows)
    red = hills + 0.5 * np.roll(lows, 200, axis=1) > -0.1 + 0.1 * detail
    tone = np.random.default_rng((seed, 1)).normal(1.0, 0.17, _PARCELS).astype(np.float32)
    canvas = _Canvas(
        calendar=calendar,
        ground=np.where(red, _RED_SOIL, _DARK_SOIL).astype(np.uint8),
        plant=np.full(shape, _CROPS, np.uint8),
        brightness=tone[calendar] * (1 + 0.05 * lows + 0.02 * detail),
        canopy=(1 + 0.03 * speckle + 0.02 * detail) * np.where(edge < 0.8, np.float32(0.7), np.float32(1)),
    )
    paint = canvas.paint
    rough = 1 + 0.09 * speckle + 0.10 * detail
    paint(wild, calendar=_SCRUB, plant=_SHRUBS, ground=_ROCK, canopy=rough, brightness=1 + 0.12 * detail)
    forest = wild & (relief > 1.25 + 0.5 * detail) | (lows > 1.75) & (hills > 0.1)
    paint(forest, calendar=_FOREST, plant=_TREES, canopy=rough)
    paint(wild & (detail > 1.7), calendar=_BARREN, brightness=1.1 + 0.1 * speckle)
    paint((border < 1.1) & ~wild, calendar=_BARREN, ground=_ROAD, brightness=1 + 0.1 * detail)
    paint((border < 2.6) & (detail > 0.9) & ~wild, calendar=_EVERGREEN, plant=_TREES, canopy=rough)
    stream = np.abs(lows + 0.06 * detail) / np.maximum(_slope(lows), 1e-3)
    paint((stream < 1.6) & (hills < 0.9), calendar=_EVERGREEN, plant=_TREES, canopy=rough)
    _build_towns(rng, canvas, speckle)
    fringe = (river < bank + 3.5 + 2 * detail) & (detail > -1.1)
    paint(fringe, calendar=_EVERGREEN, plant=_TREES, canopy=rough)
    paint(river < bank, calendar=_BARREN, ground=_SAND, brightness=0.92 + 0.06 * detail + 0.03 * speckle)
    lake = (hills < -0.35) & (lows < -1.55 + 0.12 * detail)
    depth = np.clip((-1.5 - lows) * 1.6, 0, 1)
    paint(lake, calendar=_BARREN, ground=_WATER, brightness=1.5 - 0.75 * depth + 0.02 * speckle)
    stage = bank * (0.62 + 0.2 * np.tanh(detail))
    paint(river < stage, calendar=_BARREN, ground=_WATER, brightness=1.35 + 0.1 * lows + 0.02 * speckle)

    light = _light(0.2 * hills + np.clip(relief - 0.7, 0, None))
    light[canvas.ground == _WATER] = 1.0
    return Landscape(
        calendar=canvas.calendar,
        ground=canvas.ground,
        plant=canvas.plant,
        brightness=canvas.brightness.astype(np.float32),
        canopy=np.clip(canvas.canopy, 0, 1.25).astype(np.float32),
        light=light,
        seed=seed,
    )


@dataclass(slots=True)
class _Canvas:
    """The layers of a landscape that is being made; later strokes cover earlier ones."""

    calendar: npt.NDArray[np.uint16]
    ground: npt.NDArray[np.uint8]
    plant: npt.NDArray[np.uint8]
    brightness: Floats
    canopy: Floats

    def paint(self, where: npt.NDArray[np.bool_], **layers: float | Floats) -> None:
        """Set layers, given by name, where a mask is True."""
        for name, value in layers.items():
            getattr(self, name)[where] = value[where] if isinstance(value, np.ndarray) else value


def _noise(rng: np.random.Generator, shape: tuple[int, int], beta: float, *, longest: float) -> Floats:
    """Make noise of zero mean and unit deviation whose power falls as frequency ** -beta.

    Waves longer than `longest` pixels are held down, so that features have about that size. The result is
    periodic.
    """
    height, width = shape
    rows = np.fft.fftfreq(height).astype(np.float32)[:, None]
    cols = np.fft.rfftfreq(width).astype(np.float32)[None, :]
    power = (rows * rows + cols * cols + np.float32(1.0 / longest) ** 2) ** np.float32(-beta / 4)
    size = power.shape
    spectrum = rng.standard_normal(size, np.float32) + 1j * rng.standard_normal(size, np.float32)
    spectrum *= power
    spectrum[0, 0] = 0
    field: npt.NDArray[Any] = np.fft.irfft2(spectrum, s=shape)
    return np.asarray(field / field.std(), np.float32)


def _slope(field: Floats) -> Floats:
    down, right = np.gradient(field)
    return np.asarray(np.hypot(down, right), np.float32)


def _light(height: Floats) -> Floats:
    """Shade hills as a sun in the south-east would."""
    down, right = np.gradient(_blurred(height))
    return np.asarray(np.clip(1 - 7.0 * (0.72 * right + 0.69 * down), 0.55, 1.35), np.float32)


def _blurred(field: Floats) -> Floats:
    """Blur a little, as the optics do: (0.2, 0.6, 0.2) in both directions."""
    side, middle = np.float32(0.2), np.float32(0.6)
    result = field * middle
    result[1:] += side * field[:-1]
    result[:-1] += side * field[1:]
    result[0] += side * field[0]
    result[-1] += side * field[-1]
    across = result * middle
    across[:, 1:] += side * result[:, :-1]
    across[:, :-1] += side * result[:, 1:]
    across[:, 0] += side * result[:, 0]
    across[:, -1] += side * result[:, -1]
    return across


def _river(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Give the distance to a meandering river and half the width of its bed, both in pixels."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    bends = _noise(rng, shape, 5.6, longest=190)
    course = (rows + 0.35 * cols).astype(np.float32) - np.float32(0.55 * shape[0] + 0.15 * shape[1])
    course = course + 50 * bends
    distance = np.abs(course) / np.maximum(_slope(course), 0.45)
    half_width = np.clip(6.5 + 2.2 * np.roll(bends, 97, axis=1), 3.5, 11)
    return distance.astype(np.float32), half_width.astype(np.float32)


def _voronoi(
    rng: np.random.Generator, shape: tuple[int, int], size: float, warp: Floats
) -> tuple[npt.NDArray[np.int32], Floats]:
    """Divide the plane into cells of about `size` pixels; give the cell and the distance to its border."""
    down, across = (int(side / size) + 4 for side in shape)
    seeds = (rng.random((2, down, across), np.float32) - 0.5) * np.float32(0.8)
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    y = (rows / size).astype(np.float32) + np.float32(0.10) * warp + np.float32(1.5)
    x = (cols / size).astype(np.float32) + np.float32(0.10) * np.roll(warp, 71, axis=0) + np.float32(1.5)
    cell_y, cell_x = np.clip(y.astype(np.int32), 1, down - 2), np.clip(x.astype(np.int32), 1, across - 2)
    nearest = np.full(shape, np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros(shape, np.int32)
    home = cell_y * across + cell_x
    y, x = y - cell_y, x - cell_x
    for step in range(9):
        down_by, right_by = step // 3 - 1, step % 3 - 1
        index = home + (down_by * across + right_by)
        away_y = y - seeds[0].ravel()[index] - np.float32(down_by + 0.5)
        away_x = x - seeds[1].ravel()[index] - np.float32(right_by + 0.5)
        distance = away_y * away_y + away_x * away_x
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        owner = np.where(closer, index, owner)
    border = (np.sqrt(second) - np.sqrt(nearest)) * np.float32(size / 2)
    return owner.astype(np.int32), border.astype(np.float32)


def _parcels(
    rng: np.random.Generator, block: npt.NDArray[np.int32], irrigated: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint16], Floats]:
    """Cut each block into rectangles along its own direction; give calendar rows and distance to the edge."""
    blocks = int(block.max()) + 1
    angle = rng.uniform(-0.5, 0.5, blocks) + rng.choice([0.0, 0.4], blocks)
    short = rng.uniform(6.0, 14.0, blocks).astype(np.float32)
    long = (short * rng.uniform(1.4, 3.2, blocks)).astype(np.float32)
    rows, cols = (axis.astype(np.float32) for axis in np.ogrid[: block.shape[0], : block.shape[1]])
    sin, cos = np.sin(angle).astype(np.float32)[block], np.cos(angle).astype(np.float32)[block]
    wide, tall = short[block], long[block]
    u = (cols * cos + rows * sin) / wide
    strip = np.floor(u)
    v = (rows * cos - cols * sin) / tall + np.float32(0.37) * strip
    piece = np.floor(v)
    inside_u, inside_v = u - strip, v - piece
    edge = np.minimum(np.minimum(inside_u, 1 - inside_u) * wide, np.minimum(inside_v, 1 - inside_v) * tall)
    mixed = block.astype(np.uint32) * np.uint32(73856093)
    mixed ^= strip.astype(np.int32).view(np.uint32) * np.uint32(19349663)
    mixed ^= piece.astype(np.int32).view(np.uint32) * np.uint32(83492791)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x2C1B3C6D)
    half = _PARCELS // 2
    calendar = (mixed >> np.uint32(16)) % np.uint32(half) + half * irrigated.astype(np.uint32)
    return calendar.astype(np.uint16), edge


def _build_towns(rng: np.random.Generator, canvas: _Canvas, speckle: Floats) -> None:
    """Put a town, villages and the roads between them on the map."""
    shape, paint = speckle.shape, canvas.paint
    count = 3 + shape[0] * shape[1] // 150_000
    centres = rng.uniform(0.04, 0.96, (count, 2)) * shape
    radii = np.concatenate([[52.0], rng.uniform(7, 22, count - 1)])
    rows, cols = (axis.astype(np.float32) for axis in np.ogrid[: shape[0], : shape[1]])
    for start, end in pairwise(centres):
        along = end - start
        length = float(np.hypot(*along))
        y, x = rows - np.float32(start[0]), cols - np.float32(start[1])
        off = np.abs(y * np.float32(along[1] / length) - x * np.float32(along[0] / length))
        share = (y * np.float32(along[0]) + x * np.float32(along[1])) / np.float32(length**2)
        paint((off < 0.8) & (share > 0) & (share < 1), calendar=_BARREN, ground=_ROAD, brightness=0.95)
    lots = np.repeat(np.repeat(speckle[::2, ::2], 2, axis=0), 2, axis=1)[: shape[0], : shape[1]]
    density = np.full(shape, -9.0, np.float32)
    for (row, col), radius in zip(centres, radii, strict=True):
        density = np.maximum(density, 1 - ((rows - row) ** 2 + (cols - col) ** 2) / np.float32(radius**2))
    town = density + 0.45 * lots > 0
    tone = np.clip(1 + 0.30 * lots + 0.12 * speckle, 0.5, 2.2)
    streets = ((rows + 0.25 * cols) % 9 < 1.2) | ((cols - 0.25 * rows) % 13 < 1.2)
    paint(town, calendar=_BARREN, ground=_BUILT, brightness=np.where(streets, np.float32(0.72), tone))
    paint(town & (lots < -1.1), calendar=_EVERGREEN, plant=_TREES)


def _bump(day: int, peak: float | npt.NDArray[np.float64], width: float) -> Any:
    """Rise to 1 at the `peak` day of the year, fall off within some `width` days, across the new year too."""
    away = (day - peak + _DAYS / 2) % _DAYS - _DAYS / 2
    return np.exp(-((away / width) ** 2))


def _plant_cover(day: int, seed: int) -> Floats:
    """Give the share of the ground that plants cover on a day of the year, per row of the calendar.

    Rain-fed fields follow the monsoon (kharif, greenest in September), irrigated ones bear a second crop in
    winter (rabi, January) or in spring; orchards are green all year and fallows after rain.
    """
    rng = np.random.default_rng((seed, 2))
    irrigated = np.arange(_PARCELS) >= _PARCELS // 2
    kind = rng.random(_PARCELS)
    kharif = np.where(irrigated, kind < 0.72, kind < 0.62)
    rabi = np.where(irrigated, kind < 0.55, kind < 0.10)
    spring = np.where(irrigated, (kind > 0.45) & (kind < 0.80), np.zeros(_PARCELS, bool))
    orchard = kind > 0.90
    jitter = rng.normal(0, 16, (3, _PARCELS))
    vigour = rng.uniform(0.55, 0.95, (3, _PARCELS))
    rest = rng.uniform(0.04, 0.16, _PARCELS) + 0.22 * _bump(day, 250, 55)
    crops = (
        kharif * vigour[0] * _bump(day, 262 + jitter[0], 44),
        rabi * vigour[1] * _bump(day, 18 + jitter[1], 36),
        spring * vigour[2] * _bump(day, 112 + jitter[2], 30),
        orchard * (0.55 + 0.25 * vigour[0]) * (0.85 + 0.15 * _bump(day, 270, 90)),
    )
    fields = np.clip(np.maximum.reduce([rest, *crops]), 0, 0.97)
    wild = (
        0.48 + 0.44 * _bump(day, 275, 85),  # deciduous forest
        0.16 + 0.50 * _bump(day, 255, 60),  # scrub
        0.74 + 0.12 * _bump(day, 265, 90),  # evergreen
        0.0,  # barren
    )
    return np.concatenate([fields, wild]).astype(np.float32)


def _clouds(rng: np.random.Generator, shape: tuple[int, int], share: float) -> tuple[Floats, Floats]:
    """Give opacity of clouds and of their shadows, each 0 to 1."""
    if share <= 0:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    field = _noise(rng, shape, 3.1, longest=150 + 500 * share)
    threshold = float(np.quantile(field[::8, ::8], 1 - min(share, 0.999)))
    opacity = np.clip((field - np.float32(threshold - 0.16)) * np.float32(2.2), 0, 1)
    # Clouds 1.2 km up, a sun 50 degrees high in the south-east: shadows fall 1 km to the north-west. The
    # field is periodic, so clouds beyond the edge throw theirs too.
    shadow = np.roll(opacity, (-70, -72), axis=(0, 1)) * (1 - opacity)
    return opacity, shadow
