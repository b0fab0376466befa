"""TIFF files by path or URL. A pattern reads item, asset and time from the path."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import checked_list, shown
from rasteret_sql.database.hrefs import absolute, mirror_of, path_of, unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.found import AssetRef, Found, FoundItem, ItemRef, SourceKind, parse_datetime
from rasteret_sql.index.report import Failure
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasteret_sql.index.found import SourceOptions

#: Asset key of files without one in their pattern.
DEFAULT_ASSET = "data"
FILES_PER_STEP = 512

_ITEM_FIELDS = frozenset({"item_id", "asset", "collection", "datetime", "date", "start_datetime", "end_datetime"})


def tiff_files(paths: Sequence[str], options: SourceOptions) -> Iterator[Found]:
    """Name TIFF files by path or URL; nothing is fetched.

    Without a pattern each file is an item: `item_id` is the file name without extension, led by as many folders as make
    it unique in the source, and `asset` is "data".
    """
    hrefs = list(dict.fromkeys(map(absolute, paths)))
    twice = len(paths) - len(hrefs)
    names = distinct_names(hrefs) if options.pattern is None or "item_id" not in options.pattern.formats else {}
    for start in range(0, len(hrefs), FILES_PER_STEP):
        found = Found()
        for href in hrefs[start : start + FILES_PER_STEP]:
            _take(found, href, names.get(href), options)
        if start == 0 and twice:
            found.left_out["files named twice"] += twice
        yield found


def _take(found: Found, href: str, name: str | None, options: SourceOptions) -> None:
    fields: Mapping[str, str | datetime] = {}
    if options.pattern is not None:
        try:
            fields = options.pattern.match(href)
        except InvalidArgumentError as error:
            found.failures.append(Failure(redact(href), None, None, type(error).__name__, str(error)))
            return
    entry = file_item(href, fields, name, options)
    found.asset_keys.add(entry.assets[0].asset)
    if options.assets is None or entry.assets[0].asset in options.assets:
        found.items.append(entry)


# The last kind: a path that no other kind takes is that of a TIFF.
KIND = SourceKind(rank=90, takes_path=lambda _path: True, of_paths=lambda paths, options: [tiff_files(paths, options)])


def file_item(href: str, fields: Mapping[str, str | datetime], name: str | None, options: SourceOptions) -> FoundItem:
    """Make an item of one file and the fields of its path."""

    def text(field: str) -> str | None:
        value = fields.get(field)
        return value if isinstance(value, str) else None

    def time(field: str) -> datetime | None:
        value = fields.get(field)
        return value if isinstance(value, datetime) else None

    item = ItemRef(
        item_id=text("item_id") or name or _stem_parts(href)[-1],
        collection=text("collection") or options.collection,
        datetime=time("datetime") or time("date"),
        start_datetime=time("start_datetime"),
        end_datetime=time("end_datetime"),
        properties={field: value for field, value in fields.items() if field not in _ITEM_FIELDS},
    )
    asset = AssetRef(asset=text("asset") or DEFAULT_ASSET, href=href, mirror=mirror_of(href, options.href_map))
    return FoundItem(item, (asset,))


def distinct_names(hrefs: Sequence[str]) -> dict[str, str]:
    """Name files by the shortest unique end of their paths, without extension.

    >>> distinct_names(["/a/2020/red.tif", "/a/2021/red.tif", "/a/nir.tif"])
    {'/a/2020/red.tif': '2020/red', '/a/2021/red.tif': '2021/red', '/a/nir.tif': 'nir'}
    """
    names: dict[str, str] = {}
    parts = {href: _stem_parts(href) for href in hrefs}
    open_hrefs = list(hrefs)
    depth = 1
    while open_hrefs:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for href in open_hrefs:
            groups["/".join(parts[href][-depth:])].append(href)
        open_hrefs = []
        for name, group in groups.items():
            if len(group) == 1:
                names[group[0]] = name
            elif all(depth >= len(parts[href]) for href in group):
                # They differ only in extension or query string.
                names |= {href: unsigned(href) for href in group}
            else:
                open_hrefs += group
        depth += 1
    # A longer path may end up with the name that a shorter path got before.
    counts = Counter(names.values())
    return {href: names[href] if counts[names[href]] == 1 else unsigned(href) for href in hrefs}


def _stem_parts(href: str) -> list[str]:
    parts = [part for part in path_of(href).split("/") if part]
    stem, dot, _ = parts[-1].rpartition(".") if parts else ("", "", "")
    if not parts:
        return [href]
    return [*parts[:-1], stem if dot and stem else parts[-1]]


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
_EXPECTED = "a pattern such as '{item_id}/{asset}.tif', or a list of patterns"
_ISO_DATE = r"\d{4}-?\d{2}-?\d{2}"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A compiled pattern; it is matched against the end of a path.

    A field takes as much of a path component as it can, so in `{item_id}_{asset}.tif` the asset follows the last
    underscore. A field at the beginning of a pattern begins after a slash.

    Attributes:
        text: the pattern.
        regex: its regular expression.
        formats: strptime formats of its time fields.
    """

    text: str
    regex: re.Pattern[str]
    formats: Mapping[str, str | None]

    @classmethod
    def compile(cls, text: str) -> PathPattern:
        """Compile a pattern.

        Raises:
            InvalidArgumentError: it has no field, a field twice, or an unknown format.
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
                    f"known are item_id, asset, collection, datetime and date, any other becomes a column. To read a "
                    f"part of a path twice, give several patterns: each reads the whole path"
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
        """Give the fields of a path; times are UTC.

        Raises:
            InvalidArgumentError: the path does not match the pattern, or a time is not valid.
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


@dataclass(frozen=True, slots=True)
class PathPatterns:
    """One pattern or several; each reads the whole path, and each field is in one of them.

    Attributes:
        patterns: the patterns.
    """

    patterns: tuple[PathPattern, ...]

    @classmethod
    def compile(cls, texts: Any) -> PathPatterns:
        """Compile a pattern, or several.

        Raises:
            InvalidArgumentError: a pattern is none, or two have a field of one name.
        """
        listed = checked_list("pattern", texts, _EXPECTED)
        if not listed or not all(isinstance(text, str) and text for text in listed):
            raise InvalidArgumentError(f"pattern: got {shown(texts)}, expected {_EXPECTED}")
        patterns = tuple(map(PathPattern.compile, listed))
        counts = Counter(name for pattern in patterns for name in pattern.formats)
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise InvalidArgumentError(
                f"pattern: got the field {{{twice}}} in two of {', '.join(map(repr, listed))}, expected it in one"
            )
        return cls(patterns)

    @property
    def text(self) -> str | list[str]:
        """The pattern, or the patterns, as `compile` takes them."""
        texts = [pattern.text for pattern in self.patterns]
        return texts[0] if len(texts) == 1 else texts

    @property
    def formats(self) -> dict[str, str | None]:
        """The formats of the fields of all patterns."""
        return {name: spec for pattern in self.patterns for name, spec in pattern.formats.items()}

    def match(self, href: str) -> dict[str, str | datetime]:
        """Give the fields of a path; times are UTC.

        Raises:
            InvalidArgumentError: the path does not match a pattern, or a time is not valid.
        """
        return {name: value for pattern in self.patterns for name, value in pattern.match(href).items()}


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
