"""A search of a STAC API, or of a dataset of the catalog, as a source of an index."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.errors import AssetNotFoundError, InvalidArgumentError
from rasteret_sql.index.found import Found, SourceKind, SourceOptions
from rasteret_sql.index.sources.documents import take_document
from rasteret_sql.index.stac.arguments import (
    MAX_PAGE_ITEMS,
    Box,
    box_parts,
    checked_box,
    checked_count,
    checked_filter,
    checked_geometry,
    checked_names,
    checked_period,
    checked_sort,
)
from rasteret_sql.index.stac.items import checked_alternate, own_base, with_alternates
from rasteret_sql.io.asked import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rasteret_sql.index.datasets.catalog import Dataset
    from rasteret_sql.index.found import Source
    from rasteret_sql.index.stac.client import ApiClient

#: Items of a page by default: defaults of servers are as low as 10, and some gateways refuse answers of many megabytes.
PAGE_ITEMS = 100

#: Arguments that a search of a table of files takes.
_OF_TABLES = frozenset({"bbox", "datetime", "max_items"})


@dataclass(frozen=True, slots=True, repr=False)
class StacSearch:
    """A search that has not run yet: a source for `build_index`, or a table of its assets.

    `stac_search` makes it. Each use runs the search again. To DuckDB and Arrow it is a table with one row per item and
    TIFF asset: `con.sql("FROM search")`, `pyarrow.table(search)`.

    Attributes:
        url: landing page of the API, or "" for a dataset that is a table of files.
        dataset: the entry of the catalog, or None.
        collections: ids of collections, or None for all.
        bbox: (xmin, ymin, xmax, ymax), xmin above xmax over the antimeridian.
        intersects: GeoJSON geometry.
        datetime: RFC 3339, both ends inclusive.
        ids: ids of items.
        filter: CQL2 JSON or text.
        sortby: fields, with "-" for descending order.
        max_items: largest number of items.
        page_items: items per page.
        alternate: names of the locations that its assets are read from, best first.
        progress: as for `stac_search`.
    """

    url: str
    dataset: Dataset | None = None
    collections: tuple[str, ...] | None = None
    bbox: Box | None = None
    intersects: Mapping[str, Any] | None = None
    datetime: str | None = None
    ids: tuple[str, ...] | None = None
    filter: Mapping[str, Any] | str | None = None
    sortby: tuple[str, ...] | None = None
    max_items: int | None = None
    page_items: int = PAGE_ITEMS
    alternate: tuple[str, ...] = ()
    progress: Callable[[int, int], None] | bool = False

    def __repr__(self) -> str:
        given = self.definition()
        first = given.pop("dataset", None) or given.pop("url")
        given.pop("url", None)
        return f"stac_search({', '.join([repr(first), *(f'{name}={value!r}' for name, value in given.items())])})"

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import facts, line, link, panel

        given = self.definition()
        url = given.pop("url", None)
        first = given.pop("dataset", None)
        return panel(
            "StacSearch",
            first or url or "",
            facts(
                {
                    "API": link(url) if url else None,
                    **{
                        name: json.dumps(value, default=str) if isinstance(value, dict) else value
                        for name, value in given.items()
                    },
                }
            ),
            line("Not run yet: build_index(search, path) and FROM search run it."),
        )

    def definition(self) -> dict[str, Any]:
        """Give the arguments that make this search again, for the metadata of an index: JSON without secrets."""
        conditions = self.conditions()
        values: dict[str, Any] = {"url": redact(self.url) or None}
        if self.dataset is not None:
            values["dataset"] = self.dataset.id
            # The collection is part of the entry.
            del conditions["collections"]
        values |= {**conditions, "alternate": list(self.alternate) or None}
        return {name: value for name, value in values.items() if value is not None}

    def conditions(self) -> dict[str, Any]:
        """Give the arguments of the STAC API's item search, None where there is no condition."""
        return {
            "collections": _listed(self.collections),
            "bbox": _listed(self.bbox),
            "intersects": self.intersects,
            "datetime": self.datetime,
            "ids": _listed(self.ids),
            "filter": self.filter,
            "sortby": _listed(self.sortby),
            "max_items": self.max_items,
        }

    def source(self, options: SourceOptions) -> Source:
        """Give the source of its items; alternate locations of the options go before those of the search."""
        if options.alternate or not self.alternate:
            return self._source(options)
        options = replace(options, alternate=self.alternate)
        return with_alternates([self._source(options)], options.alternate)

    def _source(self, options: SourceOptions) -> Source:
        if self.dataset is None:
            return api_items(self, options)
        from rasteret_sql.index.datasets.source import table_of_dataset, with_bands

        items = table_of_dataset if self.dataset.table else api_items
        return with_bands(items(self, options), self.dataset)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Run the search, and give one row per item and TIFF asset."""
        from rasteret_sql.index.asset_table import asset_table

        stream: object = asset_table([self.source(SourceOptions())]).__arrow_c_stream__(requested_schema)
        return stream


def stac_search(  # noqa: PLR0913 - the arguments of the STAC API, by keyword
    api: str,
    *,
    collections: Sequence[str] | str | None = None,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    datetime: Any = None,
    ids: Sequence[str] | str | None = None,
    filter: Mapping[str, Any] | str | None = None,  # noqa: A002 - as in the STAC API
    sortby: Sequence[str] | str | None = None,
    max_items: int | None = None,
    page_items: int = PAGE_ITEMS,
    alternate: Sequence[str] | str | None = None,
    progress: Callable[[int, int], None] | bool = False,
) -> StacSearch:
    """Describe a search of a STAC API, or of a dataset of the catalog; `build_index` runs it.

    Nothing is requested yet. An item must fulfil all conditions. Answers of 429 and 5xx and lost connections are
    retried; a server can ask for a wait of up to a minute.

    Args:
        api: URL of a STAC API, or the id of a dataset of `datasets()`, with its collection, band names and mirrors.
        collections: ids of collections; an id that the API does not have is an error.
        bbox: [xmin, ymin, xmax, ymax] in longitude and latitude; xmin above xmax crosses the antimeridian.
        intersects: GeoJSON, WKT or WKB, or anything with `__geo_interface__`; not together with `bbox`.
        datetime: '2024-01', '2024-01-01/2024-02-15', '../2024': STAC's forms, both ends inclusive; in Python also a
            `datetime`, or a pair of them.
        ids: ids of items.
        filter: CQL2, as text or as a JSON object.
        sortby: fields such as '-properties.datetime', with '-' for descending order.
        max_items: largest number of items.
        page_items: items per page of the answer; choose fewer if the API finds its answers too large.
        alternate: name of the alternate location that assets are read from, such as 's3', or several, best first;
            as for `build_index`.
        progress: True for a bar, or a callable that takes (pages so far, items so far).

    Returns:
        The search: a source for `build_index`, and a table for DuckDB and Arrow.

    Raises:
        InvalidArgumentError: an argument is wrong.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.stac_search("earthsearch/sentinel-2-l2a", bbox=[77.5, 12.9, 77.7, 13.1], datetime="2024-01-31")
        stac_search('earthsearch/sentinel-2-l2a', bbox=[77.5, 12.9, 77.7, 13.1], \
datetime='2024-01-31T00:00:00Z/2024-01-31T23:59:59.999999Z')
    """
    dataset = _dataset(api)
    if bbox is not None and intersects is not None:
        raise InvalidArgumentError("area: got both bbox and intersects, expected one of them; leave one out")
    if dataset is not None and collections is not None:
        raise InvalidArgumentError(
            f"collections: got {shown(collections)} for the dataset {dataset.id}, which is the collection "
            f"{dataset.collection!r}; leave it out, or give the URL of the API"
        )
    listed = checked_names("collections", collections, example="sentinel-2-l2a")
    search = StacSearch(
        url=api if dataset is None else dataset.endpoint,
        dataset=dataset,
        collections=listed if dataset is None else (dataset.collection,),
        bbox=checked_box(bbox),
        intersects=checked_geometry(intersects),
        datetime=checked_period(datetime),
        ids=checked_names("ids", ids, example="S2A_29RKH_20200219_0_L2A"),
        filter=checked_filter(filter),
        sortby=checked_sort(sortby),
        max_items=checked_count("max_items", max_items),
        page_items=checked_count("page_items", page_items, most=MAX_PAGE_ITEMS) or PAGE_ITEMS,
        alternate=checked_alternate(alternate),
        progress=progress,
    )
    if search.bbox is not None and len(box_parts(search.bbox)) > 1 and search.sortby and search.max_items:
        raise InvalidArgumentError(
            "sortby: got it together with max_items and a bbox over the antimeridian, which is two searches; "
            "leave max_items out, or give the area as intersects"
        )
    if dataset is not None and dataset.table:
        wrong = sorted(set(search.definition()) - _OF_TABLES - {"dataset", "url"})
        if wrong:
            raise InvalidArgumentError(
                f"{wrong[0]}: the dataset {dataset.id} is a table of files, which is searched by bbox, datetime and "
                f"max_items; leave {wrong[0]} out"
            )
    return search


def api_items(search: StacSearch, options: SourceOptions) -> Iterator[Found]:
    """Run a search, page by page. An API that fails ends the build: half a search would be taken for a whole one.

    Raises:
        RasteretError: the API cannot be reached, refuses the search, or lacks a collection.
    """
    from rasteret_sql.index.stac.client import ApiClient

    seen: set[tuple[object, object]] = set()
    found_in: set[object] = set()
    with _progress(search.progress) as advance, contextlib.closing(ApiClient(search.url)) as client:
        for number, page in enumerate(_pages(search, client), 1):
            found = Found()
            for item in page.get("features") or ():
                key = (item.get("collection"), item.get("id")) if isinstance(item, dict) else (None, None)
                # A page repeats items of the page before if new items came in meanwhile.
                if key in seen or (search.max_items is not None and len(seen) >= search.max_items):
                    continue
                seen.add(key)
                found_in.add(key[0])
                base = own_base(item, search.url) if isinstance(item, dict) else None
                take_document(found, item, base, options, named_by=search.url)
            advance(number, len(seen))
            yield found
            if search.max_items is not None and len(seen) >= search.max_items:
                break
        if search.collections is not None:
            client.require_collections([name for name in search.collections if name not in found_in])


def _pages(search: StacSearch, client: ApiClient) -> Iterator[Mapping[str, Any]]:
    parameters = {**search.conditions(), "limit": search.page_items}
    boxes: tuple[Box | None, ...] = box_parts(search.bbox) if search.bbox is not None else (None,)
    try:
        for box in boxes:
            yield from client.pages({**parameters, "bbox": list(box) if box is not None else None})
    except (AssetNotFoundError, InvalidArgumentError):
        # Some servers refuse an unknown collection without naming it.
        client.require_collections(search.collections or ())
        raise


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


# The first kind: a search is a table too, and would be read as one.
KIND = SourceKind(
    rank=10,
    of_object=lambda source, options: (
        (source.source(options), repr(source)) if isinstance(source, StacSearch) else None
    ),
)


def _dataset(api: object) -> Dataset | None:
    """Give the entry of the catalog, or None for a URL."""
    if not isinstance(api, str) or not api.strip():
        raise InvalidArgumentError(f"api: got {shown(api)}, expected the URL of a STAC API, or the id of a dataset")
    if api.startswith(("http://", "https://")):
        return None
    if "://" in api:
        raise InvalidArgumentError(f"api: got {redact(api)}, expected an http(s) URL, or the id of a dataset")
    from rasteret_sql.index.datasets.catalog import dataset

    return dataset(api)


@contextlib.contextmanager
def _progress(progress: Callable[[int, int], None] | bool) -> Iterator[Callable[[int, int], None]]:  # noqa: FBT001
    if progress is True:
        from rasteret_sql.bars import Bar

        with Bar("search", unit=" items") as bar:
            yield lambda pages, items: bar.show(items, note=f"{pages} pages")
        return
    yield progress if callable(progress) else lambda *_: None
