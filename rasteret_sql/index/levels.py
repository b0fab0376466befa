"""Levels of TIFF headers to the nested columns of the index, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rasteret_sql.index.runs import runs_of
from rasteret_sql.index.schema import index_schema
from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rasteret_sql.tiff.model import Level

    #: A level, or None where there is none, and which of the formats of its file it has, from 1.
    Numbered = tuple[Level | None, int]

_FORMAT_FIELDS = tuple(field.name for field in fields(TileFormat))


def levels_to_arrow(rows: Sequence[Sequence[Level]]) -> tuple[pa.ListArray, pa.ListArray]:
    """Write the levels of many files as the `formats` and `levels` columns of the index.

    Args:
        rows: `Header.levels` of each file.

    Returns:
        One list of structs per file, of the types that the schema gives `formats` and `levels`.
    """
    formats = [_formats_of(levels) for levels in rows]
    numbers = [{form: number for number, form in enumerate(forms, 1)} for forms in formats]
    flat: list[Numbered] = [
        (level, known[level.format]) for levels, known in zip(rows, numbers, strict=True) for level in levels
    ]
    masks: list[Numbered] = [
        (level.mask, known[level.mask.format] if level.mask is not None else 0)
        for levels, known in zip(rows, numbers, strict=True)
        for level in levels
    ]
    return _lists(formats, _format_structs(formats), "formats"), _lists(rows, _structs(flat, masks), "levels")


def _formats_of(levels: Sequence[Level]) -> list[TileFormat]:
    """The formats of the levels of one file and of their masks, each once."""
    parts = [part for level in levels for part in (level, level.mask) if part is not None]
    return list(dict.fromkeys(part.format for part in parts))


def _lists(rows: Sequence[Sequence[Any]], values: pa.Array, column: str) -> pa.ListArray:
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values, type=index_schema().field(column).type)


def _format_structs(formats: Sequence[Sequence[TileFormat]]) -> pa.Array:
    import pyarrow as pa

    kind = index_schema().field("formats").type.value_type
    return pa.array([{name: getattr(form, name) for name in _FORMAT_FIELDS} for row in formats for form in row], kind)


def _structs(
    levels: Sequence[Numbered], masks: Sequence[Numbered] = (), kind: pa.StructType | None = None
) -> pa.StructArray:
    """One struct per level; null where there is none."""
    import numpy as np
    import pyarrow as pa

    kind = kind or index_schema().field("levels").type.value_type
    there = [(level, number) for level, number in levels if level is not None]
    runs = runs_of([level for level, _ in there])
    arrays = []
    for field in kind:
        if field.name == "format":
            values = pa.array([number for _, number in there], field.type)
        elif field.name == "mask":
            values = _structs(masks, kind=field.type)
        elif pa.types.is_list(field.type):
            lists = getattr(runs, field.name)
            ends = np.concatenate([[0], np.cumsum(lists.lengths)]).astype(np.int32)
            values = pa.ListArray.from_arrays(pa.array(ends), pa.array(lists.values), type=field.type)
        else:
            values = pa.array([getattr(level, field.name) for level, _ in there], field.type)
        arrays.append(values)
    structs = pa.StructArray.from_arrays(arrays, fields=list(kind))
    if len(there) == len(levels):
        return structs
    position = np.cumsum([level is not None for level, _ in levels]) - 1
    indices = pa.array(
        [int(at) if level is not None else None for at, (level, _) in zip(position, levels, strict=True)],
        pa.int64(),
    )
    return structs.take(indices)
