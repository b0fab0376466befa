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

_FORMAT_FIELDS = tuple(field.name for field in fields(TileFormat))


def levels_to_arrow(rows: Sequence[Sequence[Level]]) -> pa.ListArray:
    """Write the levels of many files as the `levels` column of the index.

    Args:
        rows: `Header.levels` of each file.

    Returns:
        One list of structs per file, of the type that the schema gives `levels`.
    """
    import numpy as np
    import pyarrow as pa

    kind = index_schema().field("levels").type
    flat = [level for row in rows for level in row]
    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), _structs(flat, kind.value_type), type=kind)


def _structs(levels: Sequence[Level | None], kind: pa.StructType) -> pa.StructArray:
    """One struct per level; null where there is none."""
    import numpy as np
    import pyarrow as pa

    there = [level for level in levels if level is not None]
    runs = runs_of(there)
    arrays = []
    for field in kind:
        if field.name == "format":
            values = pa.array([_format_struct(level.format) for level in there], field.type)
        elif field.name == "mask":
            values = _structs([level.mask for level in there], field.type)
        elif pa.types.is_list(field.type):
            lists = getattr(runs, field.name)
            ends = np.concatenate([[0], np.cumsum(lists.lengths)]).astype(np.int32)
            values = pa.ListArray.from_arrays(pa.array(ends), pa.array(lists.values), type=field.type)
        else:
            values = pa.array([getattr(level, field.name) for level in there], field.type)
        arrays.append(values)
    structs = pa.StructArray.from_arrays(arrays, fields=list(kind))
    if len(there) == len(levels):
        return structs
    position = np.cumsum([level is not None for level in levels]) - 1
    indices = pa.array(
        [int(at) if level is not None else None for at, level in zip(position, levels, strict=True)],
        pa.int64(),
    )
    return structs.take(indices)


def _format_struct(value: TileFormat) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _FORMAT_FIELDS}
