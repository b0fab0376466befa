"""What becomes of files that cannot be read while an array is made."""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rasteret_sql.errors import RasteretError
    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.read.windows import OnFailure

    #: Collection, item, asset and address of a file.
    FileKey = tuple[str | None, str, str, str]

_log = logging.getLogger("rasteret_sql")


@dataclass(slots=True)
class Failures:
    """Files that failed, and why; threads may add to one.

    Attributes:
        is_kept: whether failures are collected; otherwise the first one is raised.
        found: the first error of each file, by collection, item, asset and address.
    """

    is_kept: bool
    found: dict[FileKey, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, on_error: str) -> Failures:
        """Make one for an `on_error` argument.

        Raises:
            InvalidArgumentError: it is not "raise" or "nodata".
        """
        check_choice("on_error", on_error, ("raise", "nodata"))
        return cls(on_error == "nodata")

    @property
    def add(self) -> OnFailure | None:
        """What a read is given to tell of failures; None where it is to raise them."""
        return self._add if self.is_kept else None

    def described(self) -> list[str]:
        """Say of each file what failed, in a fixed order."""
        return [_line(key, reason) for key, reason in sorted(self.found.items(), key=lambda each: str(each[0]))]

    def log(self) -> None:
        """Write what failed to the log."""
        for line in self.described():
            _log.warning("%s; its pixels are nodata", line)

    def _add(self, asset: PlannedAsset, error: RasteretError) -> None:
        key = asset.collection, asset.item_id, asset.asset, asset.address
        with self._lock:
            self.found.setdefault(key, str(error))


class FailedFiles(list[str]):
    """The attribute "failed" of a lazy dataset: a line for each file that failed, in a fixed order.

    xarray hands attributes on by reference, so the list of a dataset is also that of all datasets computed from it. It
    grows while their chunks are read. Copies have what is known by then, and do not grow.

    Args:
        lines: of a copy, which writers of files make by calling the type.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        super().__init__(lines)
        self._keys: list[str] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def take(self, found: Iterable[tuple[FileKey, str]]) -> None:
        """Add the files that are not listed yet."""
        with self._lock:
            for key, reason in found:
                name = str(key)
                position = bisect_left(self._keys, name)
                if self._keys[position : position + 1] != [name]:
                    self._keys.insert(position, name)
                    self.insert(position, _line(key, reason))


#: Lists by topic. Datasets of the same read share one, because a scheduler may read their common chunks once.
_lists: weakref.WeakValueDictionary[str, FailedFiles] = weakref.WeakValueDictionary()


class LazyFailures:
    """Where the blocks of a lazy read say which files failed: in the list of its dataset.

    Blocks in workers of a Dask cluster send an event instead, under the topic of the read. Pickling announces that: the
    client of the cluster subscribes to the topic before it sends the blocks.

    Args:
        read: a name for the read. The same read has the same name.
    """

    def __init__(self, read: str) -> None:
        self.topic = f"rasteret_sql-failed-{read}"
        self.listed = _lists.setdefault(self.topic, FailedFiles())
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def __reduce__(self) -> tuple[Callable[[str], WorkerFailures], tuple[str]]:
        self._subscribe()
        return WorkerFailures, (self.topic,)

    def tell(self, failures: Failures) -> None:
        """List what failed in a block, and log it."""
        failures.log()
        self.listed.take(failures.found.items())

    def _subscribe(self) -> None:
        """Let the client of this process, if there is one, pass on what workers send."""
        distributed = sys.modules.get("distributed")
        if distributed is None:
            return
        try:
            client = distributed.Client.current()
        except ValueError:
            return
        if client not in self._clients:
            self._clients.add(client)
            client.subscribe_topic(self.topic, _Listener(self.listed))


class _Listener:
    """Takes the events of a topic, as long as a dataset has the list.

    Args:
        listed: the list.
    """

    def __init__(self, listed: FailedFiles) -> None:
        self._listed = weakref.ref(listed)

    def __call__(self, event: tuple[float, list[tuple[Any, str]]]) -> None:
        listed = self._listed()
        if listed is not None:
            _, found = event
            # Tuples may arrive as lists.
            listed.take([(tuple(key), reason) for key, reason in found])


class WorkerFailures:
    """Where a block in another process says which files failed: in the log, and in an event of its Dask cluster.

    Args:
        topic: of the event.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic

    def __reduce__(self) -> tuple[Callable[[str], WorkerFailures], tuple[str]]:
        return WorkerFailures, (self.topic,)

    def tell(self, failures: Failures) -> None:
        """Send what failed in a block, and log it."""
        failures.log()
        distributed = sys.modules.get("distributed")
        if distributed is None or not failures.found:
            return
        try:
            worker = distributed.get_worker()
        except ValueError:
            # A process of Dask's scheduler "processes" has the log only.
            return
        worker.log_event(self.topic, [(list(key), reason) for key, reason in failures.found.items()])


def _line(key: FileKey, reason: str) -> str:
    _, item_id, asset, _ = key
    return f'asset "{asset}" of item {item_id}: {reason}'
