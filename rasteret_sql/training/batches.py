"""Datasets that read a batch at once, alone and combined by `&` and `|`. Importing this imports torch and torchgeo."""

from __future__ import annotations

import operator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torchgeo.datasets import GeoDataset, IntersectionDataset, UnionDataset, concat_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geopandas import GeoDataFrame

Sample = dict[str, Any]


class Batched:
    """A dataset that reads batches at once, as do the datasets that `&` and `|` make of it.

    A number as query stands for a whole row of the index, so that samplers of PyTorch and shuffling work.
    """

    index: GeoDataFrame
    read: Callable[[Sequence[Any]], list[Sample | None]]

    def __getitems__(self, queries: Sequence[Any]) -> list[Sample]:
        """Read the samples of a batch at once, as a `DataLoader` asks for them."""
        samples = self.read(queries)
        for query, sample in zip(queries, samples, strict=True):
            if sample is None:
                raise not_found(query, self)
        return [sample for sample in samples if sample is not None]

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """Take the intersection of two datasets."""
        return RasteretIntersection(self, other, collate_fn=concatenated)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """Take the union of two datasets."""
        return RasteretUnion(self, other)

    def located(self, query: Any) -> Any:
        """Give the slice of a query, which may be the number of a row.

        Raises:
            IndexError: there is no such row.
        """
        if not hasattr(query, "__index__"):
            return query
        query = operator.index(query)
        if not -len(self.index) <= query < len(self.index):
            raise IndexError(f"query: {query} is no row of an index with {len(self.index)} rows")
        xmin, ymin, xmax, ymax = self.index.geometry.iloc[query].bounds
        interval = self.index.index[query]
        return slice(xmin, xmax), slice(ymin, ymax), slice(interval.left, interval.right)


class _Combined(Batched):
    """Two datasets read as one; the class behind it in the order of resolution is TorchGeo's."""

    #: Whether a sample needs both datasets.
    _needs_both: ClassVar[bool]

    def __getitem__(self, query: Any) -> Sample:
        """Read one sample."""
        sample: Sample = super().__getitem__(self.located(query))  # type: ignore[misc]
        return sample

    def read(self, queries: Sequence[Any]) -> list[Sample | None]:
        """Read samples; None where too little lies."""
        if type(self).__getitem__ is not _Combined.__getitem__:
            # A subclass makes more of each sample.
            return [one_sample(self, query) for query in queries]
        pairs = _pairs(self, [self.located(query) for query in queries])
        found = [[each for each in pair if each is not None] for pair in pairs]
        needed = 2 if self._needs_both else 1
        return [_joined(self, each) if len(each) >= needed else None for each in found]


class RasteretIntersection(_Combined, IntersectionDataset):  # type: ignore[misc]
    """The intersection of two datasets, which reads batches at once."""

    _needs_both = True


class RasteretUnion(_Combined, UnionDataset):  # type: ignore[misc]
    """The union of two datasets, which reads batches at once."""

    _needs_both = False


def _read(dataset: GeoDataset, queries: Sequence[Any]) -> list[Sample | None]:
    if isinstance(dataset, Batched):
        found: list[Sample | None] = dataset.read(queries)
        return found
    return [one_sample(dataset, query) for query in queries]


def _pairs(dataset: Any, queries: Sequence[Any]) -> list[tuple[Sample | None, ...]]:
    """Read the samples of both datasets; while one of ours waits for bytes, the other does so too."""
    if not all(isinstance(each, Batched) for each in dataset.datasets):
        return list(zip(*(_read(each, queries) for each in dataset.datasets), strict=True))
    one, two = dataset.datasets
    with ThreadPoolExecutor(1, thread_name_prefix="rasteret-pair") as pool:
        other = pool.submit(_read, two, queries)
        return list(zip(_read(one, queries), other.result(), strict=True))


def one_sample(dataset: GeoDataset, query: Any) -> Sample | None:
    """Read one sample, or None where nothing lies there."""
    try:
        sample: Sample = dataset[query]
    except IndexError:
        return None
    return sample


def concatenated(samples: Sequence[Sample]) -> Sample:
    """Put samples of an intersection together as TorchGeo does; a label, which is one number, stays one."""
    names = {name for sample in samples for name, value in sample.items() if getattr(value, "ndim", None) == 0}
    joined: Sample = concat_samples(
        [{name: sample[name] for name in sample if name not in names} for sample in samples]
    )
    for name in names:
        found = [sample[name] for sample in samples if name in sample]
        joined[name] = found[0] if len(found) == 1 else torch.stack(found)
    return joined


def _joined(dataset: Any, samples: Sequence[Sample]) -> Sample:
    sample: Sample = dataset.collate_fn(list(samples))
    return sample if dataset.transforms is None else dataset.transforms(sample)


def not_found(query: Any, dataset: GeoDataset) -> IndexError:
    """Make the error of a query that finds nothing, in the words of TorchGeo."""
    return IndexError(f"query: {query} not found in index with bounds: {dataset.bounds}")
