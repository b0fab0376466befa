"""What becomes of files that cannot be read while an array is made."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rasteret_sql.checks import check_choice

if TYPE_CHECKING:
    from rasteret_sql.errors import RasteretError
    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.read.windows import OnFailure

_log = logging.getLogger("rasteret_sql")


@dataclass(slots=True)
class Failures:
    """Files that failed, and why; threads may add to one.

    Attributes:
        is_kept: whether failures are collected; otherwise the first one is raised.
        found: the first error of each file, by collection, item, asset and address.
    """

    is_kept: bool
    found: dict[tuple[str | None, str, str, str], str] = field(default_factory=dict)
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
        return [
            f'asset "{asset}" of item {item_id}: {reason}'
            for (_, item_id, asset, _), reason in sorted(self.found.items(), key=lambda each: str(each[0]))
        ]

    def log(self) -> None:
        """Write what failed to the log."""
        for line in self.described():
            _log.warning("%s; its pixels are nodata", line)

    def _add(self, asset: PlannedAsset, error: RasteretError) -> None:
        key = asset.collection, asset.item_id, asset.asset, asset.address
        with self._lock:
            self.found.setdefault(key, str(error))
