"""The one seam between reading and the world: a store gives byte ranges of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rasteret_sql.io.identity import UNKNOWN, FileIdentity


@dataclass(frozen=True, slots=True)
class RangeResponse:
    """Bytes `start` to `start + len(data)` (end exclusive) of a file, and what the store said of the file.

    `data` is shorter than what was asked for only where the file ends.

    Attributes:
        data: the bytes.
        start: offset of the first byte in the file.
        file_size: size of the whole file in bytes, or None where the store does not say.
        etag: entity tag as the store gave it, or None. Local files get one made of size and mtime.
        last_modified: seconds since 1970-01-01 UTC, or None.
    """

    data: bytes
    start: int
    file_size: int | None
    etag: str | None
    last_modified: float | None

    @property
    def identity(self) -> FileIdentity:
        """The facts that tell this version of the file from another."""
        return FileIdentity(self.etag, self.file_size, self.last_modified)


class RangeStore(Protocol):
    """Gives byte ranges of the files of one kind of address."""

    async def fetch(self, href: str, start: int, end: int, *, identity: FileIdentity = UNKNOWN) -> RangeResponse:
        """Fetch bytes `start` to `end` (exclusive) of a file.

        Args:
            href: path or URL of the file.
            start: offset of the first byte, at least 0.
            end: offset after the last byte, more than `start`.
            identity: facts that the file must still have, as far as they are known; see `identity.compare`.

        Returns:
            The bytes; fewer than asked for only where the file ends before `end`.

        Raises:
            AssetNotFoundError: there is no such file, or it is a directory.
            AccessDeniedError: the store refused.
            AssetChangedError: the file is another one than `identity` describes.
            RangeError: the store answered with other bytes, or `start` is beyond the end of the file.
            TransportError: the connection failed, also after the retries.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; the store can be used again afterwards."""
        ...
