"""The exceptions that rasteret_sql raises; no other library's exception leaves the package unmapped.

    RasteretError
    ├── InvalidArgumentError (ValueError)      an argument is wrong; raised before any I/O
    │   └── EmptySliceError (IndexError)       a slice of a dataset ends where it starts, or before
    ├── InvalidIndexError (ValueError)         an index is not one, or lacks what a read needs
    ├── EmptyReadError (LookupError)           the arguments select no pixels
    ├── BuildError (RuntimeError)              an index could not be built at all
    ├── TiffError (ValueError)
    │   ├── NotTiffError                       the bytes are not a TIFF
    │   ├── CorruptTiffError                   a TIFF whose structure or tile data contradicts itself
    │   └── UnsupportedTiffError               a valid TIFF feature that we do not read
    └── FetchError (OSError)
        ├── AssetNotFoundError (FileNotFoundError)   404, no such file, a directory
        ├── AccessDeniedError (PermissionError)      401, 403, no permission
        ├── AssetChangedError                        ETag, size or time differ: rewritten since it was indexed
        ├── RangeError                               the server did not give the bytes asked for
        └── TransportError (ConnectionError)         timeouts, resets, 429 and 5xx after the last retry

A message gives identity, got, expected and remedy, in that order, and never a query string.
"""

from __future__ import annotations


class RasteretError(Exception):
    """Base of every error that rasteret_sql raises on purpose."""


class InvalidArgumentError(RasteretError, ValueError):
    """An argument is wrong; raised before any I/O."""


class EmptySliceError(InvalidArgumentError, IndexError):
    """A slice of a dataset ends where it starts, or before; TorchGeo takes an IndexError for "nothing lies there"."""


class InvalidIndexError(RasteretError, ValueError):
    """An index is not one, or lacks what a read needs."""


class EmptyReadError(RasteretError, LookupError):
    """What was asked for selects no pixels."""


class BuildError(RasteretError, RuntimeError):
    """An index could not be built at all."""


class TiffError(RasteretError, ValueError):
    """Base of everything that can be wrong with the bytes of a TIFF."""


class NotTiffError(TiffError):
    """The bytes are not a TIFF."""


class CorruptTiffError(TiffError):
    """A TIFF whose structure or tile data contradicts itself."""


class UnsupportedTiffError(TiffError):
    """A valid TIFF feature that is not read."""


class FetchError(RasteretError, OSError):
    """Base of everything that can go wrong while bytes are fetched."""


class AssetNotFoundError(FetchError, FileNotFoundError):
    """There is no file at this path or URL."""


class AccessDeniedError(FetchError, PermissionError):
    """The store refused to give this file."""


class AssetChangedError(FetchError):
    """The file was rewritten since it was indexed."""


class RangeError(FetchError):
    """The server did not give the bytes that were asked for."""


class TransportError(FetchError, ConnectionError):
    """The connection failed, also after retries."""
