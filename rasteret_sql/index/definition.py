"""Index definitions: a `.sql` file with a header and one SELECT. Pure: nothing is run here.

    -- name: s2_bangalore
    -- kind: index
    -- grain: one row per asset
    -- Its purpose, in a sentence.
    -- check: no clouds: SELECT item_id, asset, "eo:cloud_cover" FROM asset_index
    --     WHERE "eo:cloud_cover" >= 20
    WITH assets AS (FROM stac_search('https://example.com/v1', collections := ['sentinel-2-l2a']))
    FROM read_headers(assets)

Where different files share a collection, item_id and asset, `-- on_duplicate: latest` takes the row whose item changed
last, and `-- on_duplicate: keep` takes all of them; without it that is an error.

A check is a query of `asset_index` that must give no row; lines indented by three spaces or more continue it. To DuckDB
the whole header is a comment, so the file runs as it is in a shell, in `COPY (...) TO` and in dbt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.database.hrefs import unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.finish import checked_on_duplicate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.index.finish import OnDuplicate

_FIELD = re.compile(r"^-- (name|kind|grain|reads|on_duplicate|check): *(.*)$")
_CONTINUED = re.compile(r"^-- {3,}(\S.*)$")
_CHECK = re.compile(r"([^:]+): *(\S.*)", re.DOTALL)
_REQUIRED = ("name", "kind", "grain")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://(?:(?!\$\$)[^\s'\"])+")
_SECRET_NAME = re.compile(r"secret|token|passw|credential|signature|api_?key|access_?key|sas\b", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_EXAMPLE = 'no clouds: SELECT item_id FROM asset_index WHERE "eo:cloud_cover" > 20'
#: Replaces a secret.
LEFT_OUT = "(left out: it looks like a secret)"


@dataclass(frozen=True, slots=True)
class Definition:
    """An index definition.

    Attributes:
        name: of the index.
        grain: the meaning of one row.
        comment: its purpose, or "".
        checks: queries of `asset_index` that must give no row, by name.
        on_duplicate: the rule for different files that share a key.
        text: the whole file.
    """

    name: str
    grain: str
    comment: str
    checks: Mapping[str, str]
    on_duplicate: OnDuplicate
    text: str


def parse_definition(text: str, what: str) -> Definition:
    """Read the header of a definition.

    Args:
        text: the whole file.
        what: its name in messages, such as its path.

    Raises:
        InvalidArgumentError: its header lacks a field, or has a wrong one.
    """
    fields: dict[str, str] = {}
    checks: dict[str, str] = {}
    comment: list[str] = []
    lines = _header_lines(text)
    for key, value in lines:
        if key == "check":
            name, query = _check(value, what)
            if name in checks:
                raise InvalidArgumentError(f"{what}: got two checks of the name {name!r}, expected a name for each")
            checks[name] = query
        elif key:
            fields[key] = value
        else:
            comment.append(value)
    missing = [name for name in _REQUIRED if not fields.get(name)]
    if missing:
        raise InvalidArgumentError(
            f"{what}: its header has no {', '.join(missing)}; expected lines such as '-- name: s2', '-- kind: index' "
            f"and '-- grain: one row per asset' at its beginning"
        )
    if fields["kind"] != "index":
        raise InvalidArgumentError(f"{what}: got the kind {fields['kind']!r}, expected '-- kind: index'")
    on_duplicate = checked_on_duplicate(fields.get("on_duplicate"), f"{what}: on_duplicate")
    return Definition(fields["name"], fields["grain"], " ".join(comment), checks, on_duplicate, text)


def _header_lines(text: str) -> list[tuple[str, str]]:
    """Give keys and values of the comment at the beginning; the key of a plain comment line is ""."""
    found: list[tuple[str, str]] = []
    for line in text.lstrip("\ufeff").splitlines():
        match = _FIELD.match(line)
        more = _CONTINUED.match(line)
        if match:
            found.append((match[1], match[2].strip()))
        elif more and found and found[-1][0] == "check":
            found[-1] = ("check", f"{found[-1][1]}\n{more[1]}")
        elif line.startswith("--"):
            found.append(("", line[2:].strip()))
        elif line.strip():
            break
    return found


def _check(value: str, what: str) -> tuple[str, str]:
    match = _CHECK.fullmatch(value)
    if match is None:
        raise InvalidArgumentError(
            f"{what}: got the check {shown(value)}, expected a name and a query that must give no row, such as "
            f"'-- check: {_EXAMPLE}'"
        )
    return match[1].strip(), match[2].rstrip().rstrip(";")


def checked_variables(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the variables of a definition.

    Raises:
        InvalidArgumentError: a name is not valid, or the index cannot keep a value.
    """
    if variables is None:
        return {}
    for name, value in variables.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise InvalidArgumentError(f"variables: got the name {shown(name)}, expected letters, digits and _")
        if not _is_plain(value):
            raise InvalidArgumentError(
                f"variables: got {name} = {shown(value)}, expected a text, number or boolean, or a list of these"
            )
    return dict(variables)


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part) and not isinstance(part, (list, tuple)) for part in value)
    return value is None or isinstance(value, (str, int, float, bool))


def kept_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Give variables as the index keeps them: no signatures of URLs, and no values of secret names."""
    return {
        name: LEFT_OUT if _SECRET_NAME.search(name) else kept_text(value) if isinstance(value, str) else value
        for name, value in variables.items()
    }


def kept_text(text: str) -> str:
    """Give SQL as the index keeps it: URLs without signatures, users and passwords.

    >>> kept_text("FROM 'https://me:pw@example.com/a.parquet?sig=abc&v=1'")
    "FROM 'https://example.com/a.parquet?v=1'"
    """
    return _URL.sub(lambda match: unsigned(match[0]), text)
