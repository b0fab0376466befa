"""Columns of numbers and texts on disk, mapped into memory: processes of one machine share their pages.

A column is bare values. Columns that are written at once share one file, since opening a file costs more than a small
column. A column that is written in pieces has a file of its own. Texts are UTF-8 behind a byte that tells NULL from a
text, with a second column that says where each begins.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.errors import AssetNotFoundError
from rasteret_sql.io.disk import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

_BOUNDS: Final = ".bounds"
#: The file of the columns that are written at once.
_SHARED: Final = "columns"
#: Bytes to which columns are aligned in a file.
_ALIGNMENT: Final = 64


class _Column(NamedTuple):
    """Where a column lies.

    Attributes:
        file: name of its file.
        offset: of its first byte there.
        nbytes: how long it is.
        dtype: NumPy's name of it.
        is_text: whether these are the bytes of texts.
    """

    file: str
    offset: int
    nbytes: int
    dtype: str
    is_text: bool = False


class MappedColumns(Mapping[str, Any]):
    """Columns by name: arrays, or sequences of texts.

    A pickled one is its path, so it serves the processes of one machine. The folder goes with the object that wrote it.

    Args:
        folder: holds the files.
        columns: where each column lies.
    """

    def __init__(self, folder: Path, columns: Mapping[str, _Column]) -> None:
        self._folder, self._columns = folder, dict(columns)
        self._files: dict[str, npt.NDArray[np.uint8]] = {}
        self._open: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Callable[..., MappedColumns], tuple[Any, ...]]:
        """Pickle the path."""
        return MappedColumns, (self._folder, self._columns)

    def __getitem__(self, name: str) -> Any:
        """Give a column, opened when it is first wanted.

        Raises:
            AssetNotFoundError: the folder is gone.
        """
        if name not in self._open:
            column = self._columns[name]
            values = self._mapped(column.file)[column.offset : column.offset + column.nbytes].view(column.dtype)
            self._open[name] = MappedTexts(values, self[name + _BOUNDS]) if column.is_text else values
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return (name for name in self._columns if not name.endswith(_BOUNDS))

    def __len__(self) -> int:
        """Count the columns."""
        return sum(1 for _ in self)

    def _mapped(self, file: str) -> npt.NDArray[np.uint8]:
        if file not in self._files:
            path = self._folder / file
            try:
                # An empty file cannot be mapped.
                empty = not path.stat().st_size
                self._files[file] = np.empty(0, "u1") if empty else np.memmap(path, "u1", "r").view(np.ndarray)
            except FileNotFoundError as error:
                raise AssetNotFoundError(
                    f"{path}: is gone, expected the table of files of a dataset, which goes with the process that made "
                    "it; make the dataset again, or hand it over with rasteret_sql.handoff"
                ) from error
        return self._files[file]


class MappedTexts(Sequence["str | None"]):
    """Texts in bytes.

    Args:
        values: the bytes of all texts.
        bounds: where each begins, and the end of the last one.
    """

    def __init__(self, values: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int64]) -> None:
        self._values, self._bounds = values, bounds

    def __len__(self) -> int:
        """Count them."""
        return len(self._bounds) - 1

    def __getitem__(self, number: Any) -> Any:
        """Give one, or some."""
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        return _decoded(self._values[self._bounds[number] : self._bounds[number + 1]].tobytes())

    def __iter__(self) -> Iterator[str | None]:
        """Give all."""
        values, bounds = self._values.tobytes(), self._bounds.tolist()
        return (_decoded(values[start:end]) for start, end in pairwise(bounds))


class ColumnWriter:
    """Writes columns to a new temporary folder."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rasteret_sql."))
        self._columns: dict[str, _Column] = {}
        self._pieces: list[bytes] = []
        self._nbytes = 0

    def numbers(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write a column of numbers, once."""
        self._add(name, np.ascontiguousarray(values).tobytes(), values.dtype)

    def append(self, name: str, values: npt.NDArray[Any], dtype: str | None = None) -> None:
        """Append to a column of numbers, which is written in as many pieces as it takes.

        Args:
            name: of the column.
            values: what is appended.
            dtype: how it is kept, the same for all pieces; that of the values by default.
        """
        kept = np.dtype(dtype or values.dtype).name
        piece = np.ascontiguousarray(values, kept).tobytes()
        before = self._columns[name].nbytes if name in self._columns else 0
        self._columns[name] = _Column(name, 0, before + len(piece), kept)
        with writing(self._folder / name), (self._folder / name).open("ab") as file:
            file.write(piece)

    def texts(self, name: str, values: Iterable[str | None]) -> None:
        """Write a column of texts, once."""
        encoded = [b"\0" if value is None else b"\1" + value.encode() for value in values]
        self.numbers(name + _BOUNDS, np.cumsum([0, *map(len, encoded)], dtype=np.int64))
        self._add(name, b"".join(encoded), np.dtype(np.uint8), is_text=True)

    def _add(self, name: str, values: bytes, dtype: np.dtype[Any], *, is_text: bool = False) -> None:
        self._columns[name] = _Column(_SHARED, self._nbytes, len(values), dtype.name, is_text)
        padding = bytes(-len(values) % _ALIGNMENT)
        self._pieces += [values, padding]
        self._nbytes += len(values) + len(padding)

    def close(self) -> MappedColumns:
        """Give the columns. Their folder goes with them."""
        path = self._folder / _SHARED
        with writing(path), path.open("wb") as file:
            file.writelines(self._pieces)
        columns = MappedColumns(self._folder, self._columns)
        weakref.finalize(columns, _remove, self._folder, os.getpid())
        return columns

    def discard(self) -> None:
        """Remove the folder."""
        _remove(self._folder, os.getpid())


def _decoded(text: bytes) -> str | None:
    return text[1:].decode() if text[0] else None


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
