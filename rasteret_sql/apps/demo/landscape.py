"""Makes a landscape that does not exist, as Sentinel-2 would see it on a date: fields, forest, water, towns and clouds.

Values are surface reflectance x 10000 as uint16, 0 is nodata and the offset is 0, like products whose BOA_ADD_OFFSET
has been applied. Everything follows from the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BANDS = ("blue", "green", "red", "nir")
REFLECTANCE_SCALE = 0.0001

# Reflectance in blue, green, red, near infrared.
_GROUNDS = np.array(
    [
        (0.062, 0.092, 0.136, 0.220),  # red soil
        (0.060, 0.082, 0.108, 0.172),  # dark soil
        (0.128, 0.142, 0.158, 0.205),  # roofs and streets
        (0.048, 0.062, 0.044, 0.020),  # water
    ],
    np.float32,
)
_RED_SOIL, _DARK_SOIL, _BUILT, _WATER = range(len(_GROUNDS))
_PLANTS = np.array((0.026, 0.060, 0.032, 0.430), np.float32)
_FIELDS = 4096  # kinds of fields: crop, tone and calendar
_DAYS = 365.25
# Share of the fields, the greenest day of the year, and days around it that are green: crops of the monsoon (kharif),
# of winter (rabi) and of spring, and orchards.
_CROPS = ((0.60, 262, 50), (0.18, 18, 40), (0.10, 112, 34), (0.12, 270, 200))

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
        ground: kind of the ground.
        brightness: factor on the reflectance.
        canopy: share of the ground that plants cover on their greenest day.
        greenest: that day of the year.
        season: days before and after it in which the plants are green.
        seed: what it was made from.
    """

    ground: npt.NDArray[np.uint8]
    brightness: Floats
    canopy: Floats
    greenest: Floats
    season: Floats
    seed: int

    def at(self, rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> Landscape:
        """Take the pixels (rows, cols) of this landscape, for a grid that lies askew on it."""
        names = ("ground", "brightness", "canopy", "greenest", "season")
        return replace(self, **{name: getattr(self, name)[rows, cols] for name in names})

    def scene(self, when: datetime, options: SceneOptions | None = None) -> Scene:
        """Look at the landscape from above on a date.

        Clouds and noise follow from the landscape's seed and the date.
        """
        options = options or SceneOptions()
        height, width = self.ground.shape
        rng = np.random.default_rng((self.seed, when.toordinal()))
        away = (when.timetuple().tm_yday - self.greenest + _DAYS / 2) % _DAYS - _DAYS / 2
        cover = self.canopy * np.maximum(np.exp(-((away / self.season) ** 2)), np.float32(0.1))
        cloud, shadow = _clouds(rng, (height, width), options.cloud_cover)
        light = self.brightness * (1 - np.float32(0.58) * shadow)
        valid = np.ones((height, width), bool)
        if options.swath_edge is not None:
            # The ground track of a descending Sentinel-2 leans some 12 degrees to the south-west.
            lean = math.tan(math.radians(12.0))
            edge = options.swath_edge * width - lean * (np.arange(height) - height / 2)
            valid = np.arange(width)[None, :] < edge[:, None]
        bands = np.empty((len(BANDS), height, width), np.uint16)
        for band in range(len(BANDS)):
            soil = _GROUNDS[:, band][self.ground]
            value = (soil + cover * (_PLANTS[band] - soil)) * light
            value += cloud * (np.float32(0.62 - 0.03 * band) + np.float32(0.22) * cloud - value)
            value += np.float32(options.noise) * rng.standard_normal(value.shape, dtype=np.float32)
            bands[band] = np.clip(value / np.float32(REFLECTANCE_SCALE), 1, 16000) * valid
        clouded = (cloud > 0.35) & valid
        scl = self._classify(bands, cloud, shadow, valid)
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
    rows, cols = (axis.astype(np.float32) for axis in np.ogrid[:height, :width])

    # Fields are rectangles of some 12 x 20 pixels in rows that bend a little.
    strip = np.floor((0.94 * cols + 0.34 * rows) / 12 + lows)
    piece = np.floor((0.94 * rows - 0.34 * cols) / 20 + 0.37 * strip)
    field = (strip.astype(np.int64) * 7919 + piece.astype(np.int64) * 104_729) % _FIELDS
    shares, days, widths = zip(*_CROPS, strict=True)
    crop = rng.choice(len(_CROPS), _FIELDS, p=shares)
    greenest = (np.take(days, crop) + rng.normal(0, 14, _FIELDS)).astype(np.float32)[field]
    season = np.take(widths, crop).astype(np.float32)[field]
    canopy = rng.uniform(0.6, 0.95, _FIELDS).astype(np.float32)[field]
    brightness = rng.normal(1.0, 0.15, _FIELDS).astype(np.float32)[field] + np.float32(0.04) * detail
    ground = np.where(hills + 0.5 * lows > 0, _RED_SOIL, _DARK_SOIL).astype(np.uint8)

    forest = hills + 0.2 * detail > 1.0
    greenest[forest], season[forest], canopy[forest] = 275, 110, 0.85
    town = (lows > 1.7) & ~forest
    ground[town], canopy[town] = _BUILT, 0.1
    course = np.abs(rows + 0.35 * cols - np.float32(0.55 * height + 0.15 * width) + 50 * hills)
    water = (course < 7 + 2 * detail) | (lows < -1.8)
    ground[water], canopy[water] = _WATER, 0.0
    # A sun in the south-east.
    down, right = np.gradient(hills)
    brightness *= np.clip(1 - 1.4 * (0.72 * right + 0.69 * down), 0.7, 1.3)
    return Landscape(ground, brightness, canopy, greenest, season, seed)


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
