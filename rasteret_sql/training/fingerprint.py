"""Tells whether a Parquet file is the one that was handed over."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.io.asked import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAIL_BYTES: Final = 8
_MAGIC: Final = b"PAR1"
_CHUNK: Final = 1 << 20


def fingerprint(index: str) -> dict[str, Any]:
    """Say which file it is: of one on disk the hash of all of it, of any the length and the hash of its footer.

    Raises:
        InvalidIndexError: it is no Parquet file.
    """
    if "://" in index:
        return _remote_fingerprint(index)
    file = Path(index).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise InvalidIndexError(f"index: {index!r} {what}, expected one Parquet file; build one with build_index")
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            whole.update(chunk)
        nbytes = opened.tell()
        opened.seek(max(nbytes - _TAIL_BYTES, 0))
        length = _footer_bytes(opened.read(), index)
        opened.seek(nbytes - length)
        footer = opened.read()
    return {"nbytes": nbytes, "sha256": whole.hexdigest(), "footer_sha256": hashlib.sha256(footer).hexdigest()}


def _remote_fingerprint(index: str) -> dict[str, Any]:
    from rasteret_sql.io import loop
    from rasteret_sql.io.stores import store_for

    store = store_for(index)
    first = loop.run(store.fetch(index, 0, _TAIL_BYTES))
    nbytes = first.file_size
    if nbytes is None:
        raise InvalidIndexError(
            f"index: {redact(index)} does not say its length, expected a server that does; copy it to disk"
        )
    tail = loop.run(store.fetch(index, nbytes - _TAIL_BYTES, nbytes))
    length = _footer_bytes(bytes(tail.data), index)
    footer = loop.run(store.fetch(index, nbytes - length, nbytes))
    return {"nbytes": nbytes, "footer_sha256": hashlib.sha256(bytes(footer.data)).hexdigest()}


def _footer_bytes(tail: bytes, index: str) -> int:
    """Give the length of a Parquet footer with its length and magic, of the last bytes of a file."""
    if tail[4:] != _MAGIC:
        raise InvalidIndexError(
            f"index: {redact(index)} is no Parquet file, expected an index; build one with build_index"
        )
    return int.from_bytes(tail[:4], "little") + _TAIL_BYTES


def require_same(what: str, where: str, expected: Mapping[str, Any], path: Path) -> None:
    """Refuse another file than the one that was handed over.

    Raises:
        InvalidIndexError: it is another.
    """
    found = fingerprint(where)
    # Of a file that lay elsewhere then or now, not all is known.
    names = [name for name in ("sha256", "footer_sha256", "nbytes") if name in expected and name in found]
    differing = [name for name in names if expected[name] != found[name]]
    if differing:
        name = differing[0]
        raise InvalidIndexError(
            f"{what}: {where} has changed since {path} was written: got {name} {found[name]}, expected "
            f"{expected[name]}; find the file that was handed over, or review the new one and write the file again "
            "with rasteret_sql.handoff"
        )
