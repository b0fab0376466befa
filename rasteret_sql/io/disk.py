"""What a full disk says, whichever library meets it."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import RasteretError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: No space, quota, limit of a file's size, a disk that is read-only.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: DuckDB and others say it in their text alone.
_SAID: Final = re.compile("|".join(re.escape(os.strerror(number)) for number in _FULL), re.IGNORECASE)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Name what could not be written where the disk is full while the block lasts; other errors stay as they are.

    Raises:
        RasteretError: the disk is full.
    """
    try:
        yield
    except RasteretError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise unwritten(target, reason) from error


def unwritten(target: Path, reason: str) -> RasteretError:
    """Give the error of a file that is not there, since it could not be written."""
    return RasteretError(
        f"{target}: could not be written: {reason}. Nothing was written; make room or choose another folder."
    )


def _reason(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno in _FULL:
        return os.strerror(error.errno)
    found = _SAID.search(str(error))
    return None if found is None else found[0]
