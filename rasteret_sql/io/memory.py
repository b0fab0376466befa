"""Files whose bytes are in memory: an address that carries them, and the store that gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rasteret_sql.errors import AssetNotFoundError, RangeError
from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.io.store import RangeResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Parts of a file begin at multiples of this, so far apart that no request holds two.
PART_BYTES = 1 << 33


class MemoryFile(str):
    """An address, "memory://...", that carries the bytes which are there.

    They live for as long as somebody has the address, and go with it into other processes.

    Args:
        name: what follows "memory://".
        parts: functions that give the bytes at multiples of `PART_BYTES`, or raise a RasteretError.
    """

    __slots__ = ("parts",)

    parts: tuple[Callable[[], bytes], ...]

    def __new__(cls, name: str, parts: Sequence[Callable[[], bytes]]) -> Self:  # noqa: D102
        file = super().__new__(cls, f"memory://{name}")
        file.parts = tuple(parts)
        return file

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryFile, (self.removeprefix("memory://"), self.parts)


class MemoryStore:
    """Gives the parts of `MemoryFile` addresses."""

    async def fetch(
        self,
        href: str,
        start: int,
        end: int,
        *,
        identity: FileIdentity = UNKNOWN,  # noqa: ARG002 - bytes in memory have no versions
    ) -> RangeResponse:
        """Give bytes `start` to `end` (exclusive), which lie in one part.

        Raises:
            AssetNotFoundError: the address carries no bytes.
            RangeError: there are no such bytes.
            RasteretError: as the part says.
        """
        if not isinstance(href, MemoryFile):
            raise AssetNotFoundError(f"{href}: got an address alone, expected one that carries its bytes")
        number, first = divmod(start, PART_BYTES)
        if number >= len(href.parts):
            raise RangeError(f"{href}: got bytes {start}-{end - 1}, expected those of one of {len(href.parts)} parts")
        return RangeResponse(href.parts[number]()[first : first + end - start], start, None, None, None)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""
