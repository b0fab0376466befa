"""A source of assets, gone through without reading a header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasteret_sql.index.build import source_options
from rasteret_sql.index.sources import resolve_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.index.found import Found


def read_assets(source: Any, **options: Any) -> Iterator[Found]:
    """Give the steps of a source; options as for `build_index`."""
    sources, _ = resolve_source(source, source_options(**options))
    for one in sources:
        yield from one
