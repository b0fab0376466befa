"""GDAL's own tags: metadata items and per-band facts in XML, and nodata as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import numpy as np

from rasteret_sql.errors import CorruptTiffError

MAX_XML_BYTES: Final = 4 << 20


@dataclass(slots=True)
class BandFacts:
    """Properties of one band in GDAL_METADATA."""

    scale: float | None = None
    offset: float | None = None
    unit: str | None = None
    description: str | None = None
    color_interpretation: str | None = None


@dataclass(slots=True)
class Metadata:
    """The contents of GDAL_METADATA: items of the dataset, and properties by 0-based sample."""

    items: list[tuple[str, str]] = field(default_factory=list)
    bands: dict[int, BandFacts] = field(default_factory=dict)
    note: str | None = None


def parse_metadata(text: str | None, where: str) -> Metadata:
    """Parse the XML of the GDAL_METADATA tag; broken XML gives a note and nothing else, as in GDAL.

    Raises:
        CorruptTiffError: the XML is absurdly long or declares a document type, which GDAL never writes.
    """
    metadata = Metadata()
    if not text or not text.strip():
        return metadata
    if len(text) > MAX_XML_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CorruptTiffError(
            f"{where}: GDAL_METADATA: got {len(text)} characters of XML, expected at most {MAX_XML_BYTES} "
            "without a document type. Remove the tag, for example with gdal_edit.py -unsetmd."
        )
    from xml.etree import ElementTree as ET
    from xml.sax.saxutils import unescape

    try:
        root = ET.fromstring(text)  # noqa: S314 - size limited, and without a document type there are no entities
    except ET.ParseError as error:
        metadata.note = f"GDAL_METADATA is not XML ({error}) and was left out"
        return metadata
    for item in root.iter("Item"):
        # GDAL escapes twice when it writes.
        _add_item(metadata, item.attrib, unescape(item.text or "", {"&quot;": '"', "&apos;": "'"}))
    return metadata


def _add_item(metadata: Metadata, attributes: dict[str, str], value: str) -> None:
    name = attributes.get("name")
    if name is None:
        return
    sample = attributes.get("sample")
    if sample is None:
        if "domain" not in attributes and "role" not in attributes:
            metadata.items.append((name, value))
        return
    if not sample.isdecimal() or len(sample) > 9:
        return
    facts = metadata.bands.setdefault(int(sample), BandFacts())
    match attributes.get("role", "").lower():
        case "scale":
            facts.scale = _noted_number(metadata, f"scale of band {int(sample) + 1}", value)
        case "offset":
            facts.offset = _noted_number(metadata, f"offset of band {int(sample) + 1}", value)
        case "unittype":
            facts.unit = value or None
        case "description":
            facts.description = value or None
        case "colorinterp":
            facts.color_interpretation = value.lower()
        case _:
            pass


_LEADING_NUMBER: Final = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SPECIAL: Final[dict[str, float]] = {
    "nan": math.nan, "-nan": math.nan, "nan(ind)": math.nan, "-nan(ind)": math.nan,
    "1.#qnan": math.nan, "-1.#qnan": math.nan, "-1.#ind": math.nan, "1.#ind": math.nan, "1.#snan": math.nan,
    "-1.#snan": math.nan,
    "inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinity": math.inf, "-infinity": -math.inf,
    "1.#inf": math.inf, "-1.#inf": -math.inf,
}  # fmt: skip


_MARK_WITHIN: Final = 50
"""Characters in which GDAL looks for a decimal mark."""


def _noted_number(metadata: Metadata, what: str, text: str) -> float | None:
    number = _number(text)
    if number is None:
        metadata.note = f"GDAL_METADATA: the {what}, {text[:40]!r}, is no number and was left out"
    return number


def _numeral(text: str) -> str | None:
    """The decimal number that a text begins with, as GDAL's `CPLAtofM` finds it; None where there is none.

    The first comma or point is the decimal mark: programs in a country of commas write -3,4e+38.
    """
    mark = re.search("[.,]", text[:_MARK_WITHIN])
    if mark is not None and mark[0] == ",":
        text = text.replace(",", ".", 1)
    match = _LEADING_NUMBER.match(text)
    return None if match is None else match.group().strip()


def _number(text: str) -> float | None:
    """The number that a text begins with; None where there is none."""
    special = _SPECIAL.get(text.strip().lower())
    if special is not None:
        return special
    numeral = _numeral(text)
    return None if numeral is None else float(numeral)


def parse_nodata(text: str | None, dtype: str, name: str = "GDAL_NODATA") -> tuple[float | int | None, str | None]:
    """The nodata value of bands of a dtype, and a note where the text holds none that a pixel could have.

    Integers are exact, also beyond 2^53. Floats are those that a pixel of the dtype holds. A value that the
    dtype cannot hold is None.
    """
    if text is None or not text.strip():
        return None, None
    stripped = text.strip()
    kind = np.dtype(dtype)
    if kind.kind in "ui":
        info = np.iinfo(kind)
        numeral = _numeral(stripped)
        if numeral is None and _number(stripped) is None:
            return None, f"{name} {stripped[:40]!r} is no number"
        number = Decimal(numeral or "NaN")
        if not number.is_finite() or not info.min <= number <= info.max:
            return None, f"{name} {stripped[:40]} cannot occur in {dtype} pixels"
        if kind.itemsize == 8 and numeral is not None and ("e" in numeral.lower() or number != int(number)):
            # GDAL stops at the exponent or mark, and would take 1e2 for 1.
            return None, f"{name} {stripped[:40]!r} is no integer as {dtype} pixels need it"
        return (int(number) if number == int(number) else float(number)), None
    value = _number(stripped)
    if value is None:
        return None, f"{name} {stripped[:40]!r} is no number"
    return _as_float(value, kind), None


def _as_float(value: float, kind: np.dtype[np.generic]) -> float:
    """The value that a pixel holds: float32 nodata is often written with too many or too few digits."""
    if kind in {np.dtype("float32"), np.dtype("complex64")} and math.isfinite(value):
        limit = float(np.finfo(np.float32).max)
        # Written as text, the largest float32 often lies just beyond it.
        if abs(value) > limit and abs(value) < limit * (1 + 1e-7):
            return math.copysign(limit, value)
        if abs(value) <= limit:
            return float(np.float32(value))
    return value
