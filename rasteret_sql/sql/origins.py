"""Where the rows of an index come from: what comes over the network may not name everything (`io/access.py`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rasteret_sql.database.hrefs import is_url

if TYPE_CHECKING:
    import duckdb

#: URLs in literals and quoted names of SQL.
_URL: Final = re.compile(r"""['"]([A-Za-z][A-Za-z0-9+.\-]*://[^'"]+)['"]""")
_VIEWS: Final = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND sql IS NOT NULL"


def origins_of(cursor: duckdb.DuckDBPyConnection, index: str, *, is_file: bool) -> tuple[str, ...]:
    """Give the URLs that an index is read from.

    They are its own, and those in the text of its query and of the views in that. A table that a user made of such
    rows is the user's own.

    Args:
        cursor: sees the views.
        index: name of a table or view, path or URL, or the text of a query.
        is_file: whether it is a path or URL.
    """
    if is_file:
        return (index,) if is_url(index) else ()
    texts = [index]
    views = cursor.execute(_VIEWS).fetchall()
    for text in texts:
        lowered = text.lower()
        texts += [sql for name, sql in views if name.lower() in lowered and sql not in texts]
    return tuple(dict.fromkeys(url for text in texts for url in _URL.findall(text) if is_url(url)))
