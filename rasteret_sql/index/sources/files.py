"""TIFF files by path or URL: what they are called is what is known of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.hrefs import absolute, mirror_of, path_of, unsigned
from rasteret_sql.index.model import AssetRef, Found, FoundItem, ItemRef
from rasteret_sql.index.report import Failure
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasteret_sql.index.sources.pattern import PathPattern
    from rasteret_sql.index.sources.stac import StacOptions

#: Asset key of files whose pattern names none.
DEFAULT_ASSET = "data"
FILES_PER_STEP = 512

_ITEM_FIELDS = frozenset({"item_id", "asset", "collection", "datetime", "date", "start_datetime", "end_datetime"})


class FileSource:
    """Paths and URLs of TIFF files.

    Without a pattern an item is a file: `item_id` is its name without extension, led by as many folders as it
    takes to tell the files of the source apart, and `asset` is "data".
    """

    def __init__(self, hrefs: Sequence[str], pattern: PathPattern | None, options: StacOptions) -> None:
        self._hrefs = [absolute(href) for href in hrefs]
        self._pattern = pattern
        self._options = options

    def find(self) -> Iterator[Found]:
        """Name the files; nothing is fetched."""
        hrefs = list(dict.fromkeys(self._hrefs))
        twice = len(self._hrefs) - len(hrefs)
        names = distinct_names(hrefs) if self._pattern is None or "item_id" not in self._pattern.formats else {}
        for start in range(0, len(hrefs), FILES_PER_STEP):
            found = Found()
            for href in hrefs[start : start + FILES_PER_STEP]:
                self._take(found, href, names.get(href))
            if start == 0 and twice:
                found.left_out["files named twice"] += twice
            yield found

    def _take(self, found: Found, href: str, name: str | None) -> None:
        fields: Mapping[str, str | datetime] = {}
        if self._pattern is not None:
            try:
                fields = self._pattern.match(href)
            except InvalidArgumentError as error:
                found.failures.append(Failure(redact(href), None, None, type(error).__name__, str(error)))
                return
        entry = file_item(href, fields, name, self._options)
        found.asset_keys.add(entry.assets[0].asset)
        if self._options.assets is None or entry.assets[0].asset in self._options.assets:
            found.items.append(entry)


def file_item(href: str, fields: Mapping[str, str | datetime], name: str | None, options: StacOptions) -> FoundItem:
    """Make an item of one file from what its path says."""

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
    """Name files by the shortest end of their paths, without extension, that no other one has.

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
                # Only the extension or the query string tells them apart.
                names |= {href: unsigned(href) for href in group}
            else:
                open_hrefs += group
        depth += 1
    # A short name may have been given while a longer path, unfinished then, ends up the same.
    counts = Counter(names.values())
    return {href: names[href] if counts[names[href]] == 1 else unsigned(href) for href in hrefs}


def _stem_parts(href: str) -> list[str]:
    parts = [part for part in path_of(href).split("/") if part]
    stem, dot, _ = parts[-1].rpartition(".") if parts else ("", "", "")
    if not parts:
        return [href]
    return [*parts[:-1], stem if dot and stem else parts[-1]]
