"""Names and colours of classes: from STAC's classification extension, and from what GDAL keeps beside a file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.errors import FetchError
from rasteret_sql.index.stac.classes import CLASSES
from rasteret_sql.io import loop
from rasteret_sql.io.stores import store_for

if TYPE_CHECKING:
    import duckdb

#: GDAL's file of persistent auxiliary metadata, and the bytes of it that are read.
_AUXILIARY_SUFFIX: Final = ".aux.xml"
_MAX_AUXILIARY_BYTES: Final = 1 << 20
_COLOR: Final = re.compile("#?([0-9A-Fa-f]{6})")


@dataclass(frozen=True, slots=True)
class ClassMeaning:
    """What a value of a band of classes means.

    Attributes:
        name: of the class, or None.
        color: red, green and blue, 0 to 255, or None.
    """

    name: str | None = None
    color: tuple[int, int, int] | None = None


Meanings = dict[int, ClassMeaning]


def indexed_meanings(cursor: duckdb.DuckDBPyConnection, index: str, item_id: str, asset: str, band: int) -> Meanings:
    """Give the classes that STAC described when the index was built; none where it did not.

    Args:
        cursor: where the index is found.
        index: name under which `query_table` finds it.
        item_id, asset, band: the band.
    """
    columns = cursor.execute(
        "SELECT 1 FROM (DESCRIBE FROM query_table($1)) WHERE column_name = $2", [index, CLASSES]
    ).fetchall()
    if not columns:
        return {}
    column = quote_identifier(CLASSES)
    row = cursor.execute(
        f"SELECT to_json({column})::VARCHAR FROM query_table($1) "  # noqa: S608 - quoted
        f"WHERE item_id = $2 AND asset = $3 AND {column} IS NOT NULL LIMIT 1",
        [index, item_id, asset],
    ).fetchone()
    if row is None:
        return {}
    described = json.loads(row[0])
    # A column whose values differ in kind is text.
    described = json.loads(described) if isinstance(described, str) else described
    if not isinstance(described, dict):
        return {}
    return _meanings_of_stac(described.get(f"{asset}:{band}") or described.get(asset))


def _meanings_of_stac(classes: Any) -> Meanings:
    meanings: Meanings = {}
    for each in classes if isinstance(classes, list) else ():
        value = each.get("value") if isinstance(each, dict) else None
        if isinstance(value, int):
            name = each.get("title") or each.get("name") or each.get("description")
            color = _COLOR.fullmatch(str(each.get("color_hint") or ""))
            meanings[value] = ClassMeaning(name, _rgb(bytes.fromhex(color[1])) if color else None)
    return meanings


def auxiliary_meanings(path: str, band: int) -> Meanings:
    """Read the categories and the colour table that GDAL keeps in the file ".aux.xml" beside a local TIFF.

    Args:
        path: of the TIFF.
        band: its 1-based number.

    Returns:
        The classes; none where there is no such file.
    """
    try:
        found = loop.run(store_for(path).fetch(f"{path}{_AUXILIARY_SUFFIX}", 0, _MAX_AUXILIARY_BYTES))
        root = ET.fromstring(found.data)  # noqa: S314 - expat bounds the expansion of entities
    except (FetchError, ET.ParseError):
        return {}
    element = root.find(f"PAMRasterBand[@band='{band}']")
    if element is None:
        return {}
    names = [category.text for category in element.findall("CategoryNames/Category")]
    colors = [
        _rgb(bytes(min(max(int(entry.get(channel, "0")), 0), 255) for channel in ("c1", "c2", "c3")))
        for entry in element.findall("ColorTable/Entry")
    ]
    count = max(len(names), len(colors))
    names += [None] * (count - len(names))
    return {
        value: ClassMeaning(name or None, colors[value] if value < len(colors) else None)
        for value, name in enumerate(names)
    }


def _rgb(data: bytes) -> tuple[int, int, int]:
    red, green, blue = data
    return red, green, blue
