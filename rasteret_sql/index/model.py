"""What sources give and what headers add to it, as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from rasteret_sql.index.report import Failure

#: The bands of an asset, in order: the objects of `eo:bands`, `raster:bands` or `bands`.
BandList = tuple["Mapping[str, Any]", ...]


@dataclass(frozen=True, slots=True)
class ItemRef:
    """What a source knows of an item.

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
        band_lists: what the source says of its bands, one entry per description.
        proj: `code`, `shape`, `transform` and `file_size` of the STAC extensions, as far as they are given; of a file
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
        failures: what could not be used, and why.
        left_out: assets that are not TIFF, counted by media type or extension.
        asset_keys: every TIFF asset key seen, also of those that were not asked for.
        alternates: names of the locations of the assets that were asked for, where alternate ones are wanted.
        columns: typed property columns, one row per entry of `items`, or None where `properties` has them.
    """

    items: list[FoundItem] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    asset_keys: set[str] = field(default_factory=set)
    alternates: set[str] = field(default_factory=set)
    columns: pa.RecordBatch | None = None


class Source(Protocol):
    """Gives items, some at a time."""

    def find(self) -> Iterator[Found]:
        """Go through the source once."""
        ...
