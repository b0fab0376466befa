"""What the table functions share that join a vector table to an index."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.search import search_boxes
from rasteret_sql.plan.formulas import PixelFormulas
from rasteret_sql.sql.batches import rows_kept, with_call
from rasteret_sql.sql.planning import IndexPlans
from rasteret_sql.sql.workarounds import mentions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import duckdb
    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.sql.derived import DerivedFiles
    from rasteret_sql.sql.selected import SelectedFiles
    from rasteret_sql.sql.workarounds import Call

#: Rows of a batch, unless a file gives more.
_BATCH_ROWS = 2048


def files_around(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    bounds: npt.NDArray[np.float64],
    crs: str,
    what: str,
    *,
    formulas: PixelFormulas | None = None,
    scale: bool = False,
    with_properties: bool = False,
) -> SelectedFiles | DerivedFiles | None:
    """Select the files of an index around rows of a vector table; None where no row has a position.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read, without an area.
        bounds: (xmin, ymin, xmax, ymax) of each row, NaN where it has no position, shape (n, 4).
        crs: of the bounds.
        what: how messages call the rows: "points" or "zones".
        formulas: what is computed of the bands of the files; None for nothing.
        scale: compute with physical values.
        with_properties: whether longitudes of items are wanted.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: there is no such file.
    """
    area = in_proj_thread(search_boxes)(bounds, crs)
    if area is None:
        return None
    arguments = replace(arguments, geometry=area.wkb_hex, crs=crs)
    try:
        plans = IndexPlans(cursor, arguments, with_properties=with_properties)
        return plans.files(arguments) if formulas is None else plans.derived_files(arguments, formulas, scale=scale)
    except EmptyReadError as error:
        raise EmptyReadError(f"{what}: {error}") from error


def kept_by(condition: Any, call: Call, unknown: Collection[str]) -> Callable[[pa.Table], Any] | None:
    """Give what finds the rows, of one per file and band, that a condition leaves.

    None where the condition says more than of files and bands.

    Args:
        condition: a `pyarrow.compute.Expression`, or None.
        call: the call that it is of.
        unknown: columns that do not follow from file and band.
    """
    if condition is None or mentions(condition, tuple(unknown)):
        return None

    def kept(rows: pa.Table) -> Any:
        return rows_kept(with_call(rows, call.token), condition)

    return kept


def rebatched(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join small batches."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _BATCH_ROWS:
            yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()
            waiting = []
    if waiting:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def errors_of(errors: dict[int, Any], count: int) -> pa.Array:
    """Give the texts of errors by place, NULL elsewhere."""
    if not errors:
        return pa.nulls(count, pa.string())
    return pa.array([str(errors[place]) if place in errors else None for place in range(count)], pa.string())


def flag_of(name: str, text: str | None) -> bool:
    """Read a boolean that DuckDB wrote as text.

    Raises:
        InvalidArgumentError: it is none.
    """
    if text not in {"true", "false"}:
        raise InvalidArgumentError(f"{name}: got {text or 'NULL'}, expected true or false")
    return text == "true"


def formulas_of(own: Mapping[str, str | None], bands: Sequence[str] | None) -> PixelFormulas | None:
    """Parse the formulas and the condition of a call; None where it has none.

    Raises:
        InvalidArgumentError: one of them cannot be parsed.
    """
    return PixelFormulas.of(json.loads(own["expressions"] or "null"), own["valid_where"], bands)


def required(name: str, text: str | None, expected: str = "the name of a table or view, or a Parquet path") -> str:
    """Refuse NULL for the name of a table, or for another argument that has no default.

    Raises:
        InvalidArgumentError: it is NULL.
    """
    if text is None:
        raise InvalidArgumentError(f"{name}: got NULL, expected {expected}")
    return text
