"""What sources find, as plain values: items, their TIFF assets, and what had to be left out."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.given_bands import GivenBands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from rasteret_sql.index.report import Failure
    from rasteret_sql.index.sources.tiffs import PathPatterns

#: The bands of an asset, in order: the objects of `eo:bands`, `raster:bands` or `bands`.
BandList = tuple["Mapping[str, Any]", ...]
#: The times of a STAC item.
TIME_NAMES = ("datetime", "start_datetime", "end_datetime")


@dataclass(frozen=True, slots=True)
class ItemRef:
    """An item as a source describes it.

    Attributes:
        item_id: its id.
        collection: id of its collection, or None.
        datetime, start_datetime, end_datetime: UTC, or None.
        geometry: footprint as WKB in OGC:CRS84 (lon, lat), or None.
        properties: further columns of its rows.
    """

    item_id: str
    collection: str | None = None
    datetime: dt.datetime | None = None
    start_datetime: dt.datetime | None = None
    end_datetime: dt.datetime | None = None
    geometry: bytes | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssetRef:
    """One TIFF file of an item.

    Attributes:
        asset: its key.
        href: path or URL as published, absolute; it may still carry a signature, which is never stored.
        band_lists: its bands as the source describes them, one entry per description.
        proj: `code`, `shape`, `transform` and `file_size` of the STAC extensions, where they are given; of a file
            in S3 also `requester_pays`, `region` and `endpoint`.
        mirror: where its bytes are read instead of from `href`, or None.
        media_type, title, roles: as STAC gives them.
    """

    asset: str
    href: str
    band_lists: tuple[BandList, ...] = ()
    proj: Mapping[str, Any] = field(default_factory=dict)
    mirror: str | None = None
    media_type: str | None = None
    title: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item and its TIFF assets."""

    item: ItemRef
    assets: tuple[AssetRef, ...]


@dataclass(slots=True)
class Found:
    """One step of a source: some items, and what it had to leave out.

    Attributes:
        items: items that have at least one TIFF asset.
        failures: items, assets and documents that cannot be used, with the reason.
        left_out: assets that are not TIFF, counted by media type or extension.
        asset_keys: every TIFF asset key of the source, wanted or not.
        alternates: names of the locations of the wanted assets, where alternate locations are wanted.
        columns: typed property columns, one row per entry of `items`, or None where `properties` has them.
    """

    items: list[FoundItem] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    asset_keys: set[str] = field(default_factory=set)
    alternates: set[str] = field(default_factory=set)
    columns: pa.RecordBatch | None = None


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Which assets of a source are wanted, and where they are read.

    Attributes:
        assets: keys of the wanted assets; None for all.
        collection: collection of the items that name none.
        href_map: prefix of an href -> prefix of its mirror.
        alternate: names of the locations that are read instead of the published href, best first.
        pattern: tells item, asset and time from the path of a file; None for none.
        period_time: the time of items without datetime: "start", "middle" or "end" of their period; None for none.
        given: values of bands in place of those of headers and of the source.
    """

    assets: frozenset[str] | None = None
    collection: str | None = None
    href_map: Mapping[str, str] = field(default_factory=dict)
    alternate: tuple[str, ...] = ()
    pattern: PathPatterns | None = None
    period_time: str | None = None
    given: GivenBands = field(default_factory=GivenBands)


#: Gives items, some at a time; it is gone through once.
Source = Iterable[Found]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source: the values that it takes, and the sources that read them.

    Attributes:
        rank: kinds are tried in ascending order; the first that takes a value reads it.
        of_object: gives the source of an object in memory and its description, or None where the object is of
            another kind.
        takes_path: whether a path or URL is of this kind.
        of_paths: gives the sources of paths and URLs of this kind.
    """

    rank: int
    of_object: Callable[[Any, SourceOptions], tuple[Source, str] | None] = lambda _source, _options: None
    takes_path: Callable[[str], bool] = lambda _path: False
    of_paths: Callable[[Sequence[str], SourceOptions], list[Source]] = lambda _paths, _options: []


def parse_datetime(value: object, name: str) -> dt.datetime | None:
    """Read an RFC 3339 date or date and time; without an offset it is UTC, and a date is its first moment.

    Args:
        value: text, a `datetime`, a `date`, or None.
        name: name of the value in a message.

    Raises:
        InvalidArgumentError: the value is no time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = dt.datetime.fromisoformat(value.strip().upper())
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise InvalidArgumentError(
            f"{name}: got {shown(value)}, expected a time such as '2024-01-31T10:20:30Z'; correct the source"
        )
    if value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    try:
        return value.astimezone(dt.UTC)
    except OverflowError as error:
        raise InvalidArgumentError(
            f"{name}: got {value}, expected a year from 1 to 9999; correct the source"
        ) from error


def parse_times(values: Mapping[str, object], what: str) -> dict[str, dt.datetime | None]:
    """Read the three times of an item.

    Args:
        values: has `datetime`, `start_datetime` and `end_datetime` where they are known.
        what: name of the item in a message.

    Raises:
        InvalidArgumentError: a value is no time, or the period ends before it starts.
    """
    times = {name: parse_datetime(values.get(name), f"{what}, {name}") for name in TIME_NAMES}
    start, end = times["start_datetime"], times["end_datetime"]
    if start is not None and end is not None and start > end:
        raise InvalidArgumentError(
            f"{what}: got the start_datetime {start} and the end_datetime {end}, expected the start first; "
            f"correct the source"
        )
    return times
