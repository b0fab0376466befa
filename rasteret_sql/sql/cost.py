"""What a read would cost: the rows of `explain_read` as an object that says the total in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = ("collection", "band", "items", "files", "tiles", "requests", "request_bytes", "pixel_bytes")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReadCost:
    """What a read would cost.

    DuckDB and Arrow take it as a table: `con.sql("FROM cost")`, `pyarrow.table(cost)`. What a `pyarrow.Table` can do,
    it can do too: `cost.to_pylist()`, `cost.to_pandas()`.

    Attributes:
        table: the rows of `explain_read` in SQL: one per collection and band, and a total.
        why_empty: which argument leaves nothing to read, as the error of such a read says it; None where tiles are
            left.
    """

    table: pa.Table
    why_empty: str | None = None

    @property
    def total(self) -> dict[str, Any]:
        """Items, files, tiles, requests and bytes of all bands together."""
        *_, last = self.table.to_pylist()
        return {name: value for name, value in last.items() if name not in {"collection", "band"}}

    def __repr__(self) -> str:
        """Say the total, and one line for each band."""
        rows = [[_cell(row[name]) for name in _SHOWN] for row in self.table.select(list(_SHOWN)).to_pylist()]
        lines = [[name.replace("_", " ") for name in _SHOWN], *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        laid_out = [
            "  ".join(
                f"{cell:<{width}}" if number < 2 else f"{cell:>{width}}"
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([f"<ReadCost {self.in_words}>", *(f"  {line}" for line in laid_out)])

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import line, panel, table

        rows = [[row[name] for name in _SHOWN] for row in self.table.select(list(_SHOWN)).to_pylist()]
        return panel(
            "ReadCost",
            "",
            line(self.in_words),
            table([name.replace("_", " ") for name in _SHOWN], rows, total=True),
        )

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the rows."""
        stream: object = self.table.__arrow_c_stream__(requested_schema)
        return stream

    def __getattr__(self, name: str) -> Any:
        """Do what the table can do."""
        if name.startswith("__") or name in {"table", "why_empty"}:
            raise AttributeError(f"'ReadCost' object has no attribute {name!r}")
        return getattr(self.table, name)

    @property
    def in_words(self) -> str:
        """The total as a sentence, and why it is nothing where it is."""
        total = self.total
        words = cost_in_words(*(total[name] or 0 for name in _SHOWN if name in total and name != "files"))
        return words if self.why_empty is None else f"{words}. {self.why_empty}"


def cost_in_words(items: int, tiles: int, requests: int, request_bytes: int, pixel_bytes: int) -> str:
    """Say what a read would cost."""
    return (
        f"{count(tiles, 'tile')} of {count(items, 'item')}: {count(requests, 'range request')}, "
        f"{size(request_bytes)} to fetch, {size(pixel_bytes)} of pixels"
    )


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
