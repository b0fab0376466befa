"""Path patterns such as `{item_id}/{asset}.tif`: what a path says of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.hrefs import path_of
from rasteret_sql.index.times import parse_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:]*")
_DIRECTIVES = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{2}",
    "%d": r"\d{2}",
    "%j": r"\d{3}",
    "%H": r"\d{2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%f": r"\d{1,6}",
    "%b": r"[A-Za-z]{3}",
}
_TIME_FIELDS = frozenset({"date", "datetime", "start_datetime", "end_datetime"})
_ISO_DATE = r"\d{4}-?\d{2}-?\d{2}"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A compiled pattern; it is matched against the end of a path.

    Each field takes as much as it can of one path component, so in `{item_id}_{asset}.tif` the asset is what
    follows the last underscore. Where a pattern begins with a field, the field begins after a slash.

    Attributes:
        text: the pattern as it was given.
        regex: what it became.
        formats: strptime formats of its time fields.
    """

    text: str
    regex: re.Pattern[str]
    formats: Mapping[str, str | None]

    @classmethod
    def compile(cls, text: str) -> PathPattern:
        """Compile a pattern.

        Raises:
            InvalidArgumentError: it has no fields, a field twice, or a format that is not understood.
        """
        parts = _FIELD.split(text)
        literals, fields = parts[::2], parts[1::2]
        if not fields or any(char in literal for literal in literals for char in "{}"):
            raise InvalidArgumentError(
                f"pattern: got {text!r}, expected fields in braces; write it as '{{item_id}}/{{asset}}.tif'"
            )
        names: dict[str, str] = {}
        formats: dict[str, str | None] = {}
        regex = re.escape(literals[0])
        for field, literal in zip(fields, literals[1:], strict=True):
            name, _, spec = field.partition(":")
            if spec and not spec.startswith("%"):
                # "s2:tile" is the name of a property.
                name, spec = field, ""
            if not _NAME.fullmatch(name) or name in names:
                raise InvalidArgumentError(
                    f"pattern: got the field {{{field}}} in {text!r}, expected a name that is used once; "
                    f"known are item_id, asset, collection, datetime and date, any other becomes a column"
                )
            names[name] = f"field{len(names)}"
            if name in _TIME_FIELDS:
                formats[name] = spec or None
                expression = _time_regex(spec, text) if spec else _ISO_DATE if name == "date" else "[^/]+"
            elif spec:
                raise InvalidArgumentError(
                    f"pattern: got a format in {{{field}}}, expected one only for "
                    f"{', '.join(sorted(_TIME_FIELDS))}; write {{{name}}}"
                )
            else:
                expression = "[^/]+"
            regex += f"(?P<{names[name]}>{expression}){re.escape(literal)}"
        boundary = r"(?:^|.*/)" if not literals[0].startswith("/") else r".*"
        compiled = re.compile(boundary + regex + r"$", re.DOTALL)
        return cls(text, compiled, {name: formats.get(name) for name in names})

    def match(self, href: str) -> dict[str, str | datetime]:
        """What the path says, field by field; time fields as UTC.

        Raises:
            InvalidArgumentError: the path does not end as the pattern says, or a time is none.
        """
        path = path_of(href)
        match = self.regex.match(path)
        if match is None:
            raise InvalidArgumentError(
                f"{path}: the path does not end like the pattern {self.text!r}; "
                f"correct the pattern or leave the file out"
            )
        values: dict[str, str | datetime] = {}
        for (name, spec), value in zip(self.formats.items(), match.groups(), strict=True):
            values[name] = self._time(name, spec, value, path) if name in _TIME_FIELDS else value
        return values

    def _time(self, name: str, spec: str | None, value: str, path: str) -> datetime:
        if spec is None:
            parsed = parse_datetime(value, f"{path}: {name} of the pattern {self.text!r}")
            assert parsed is not None
            return parsed
        try:
            return datetime.strptime(value, spec).replace(tzinfo=UTC)
        except ValueError as error:
            raise InvalidArgumentError(
                f"{path}: got {value!r} as {name}, expected a time like {spec}; correct the pattern {self.text!r}"
            ) from error


def _time_regex(spec: str, text: str) -> str:
    expression = ""
    position = 0
    while position < len(spec):
        if spec[position] == "%":
            directive = spec[position : position + 2]
            if directive not in _DIRECTIVES:
                raise InvalidArgumentError(
                    f"pattern: got {directive!r} in {text!r}, expected one of {', '.join(sorted(_DIRECTIVES))}"
                )
            expression += _DIRECTIVES[directive]
            position += 2
        else:
            expression += re.escape(spec[position])
            position += 1
    return expression
