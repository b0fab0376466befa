"""What an entry of the catalog adds to the items that a source finds: names of bands, and mirrors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rasteret_sql.index.hrefs import mirror_of
from rasteret_sql.index.model import FoundItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.index.datasets.model import Dataset, DatasetAsset
    from rasteret_sql.index.model import AssetRef, Found, Source


class DatasetSource:
    """A source whose items are those of a dataset of the catalog."""

    def __init__(self, source: Source, dataset: Dataset) -> None:
        self._source = source
        self._dataset = dataset
        self._assets: dict[str, list[DatasetAsset]] = {}
        for asset in dataset.assets:
            self._assets.setdefault(asset.key, []).append(asset)

    def find(self) -> Iterator[Found]:
        """Go through the source."""
        for found in self._source.find():
            found.items = [self._described(entry) for entry in found.items]
            yield found

    def _described(self, entry: FoundItem) -> FoundItem:
        platform = str(entry.item.properties.get("platform") or "").lower()
        return FoundItem(entry.item, tuple(self._with_bands(asset, platform) for asset in entry.assets))

    def _with_bands(self, asset: AssetRef, platform: str) -> AssetRef:
        # The mirror that the user named goes before that of the entry.
        mirror = asset.mirror or mirror_of(asset.href, self._dataset.mirrors)
        known = next(
            (one for one in self._assets.get(asset.asset, ()) if not one.platforms or platform in one.platforms), None
        )
        # The first list says the names; the others add what it leaves open.
        lists = (known.band_list(), *asset.band_lists) if known is not None and known.bands else asset.band_lists
        return replace(asset, band_lists=lists, mirror=mirror)
