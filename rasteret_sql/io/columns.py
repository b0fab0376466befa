"""Columns of numbers and texts on disk, mapped into memory: processes of one machine share their pages.

A column is a file of bare values. Texts are UTF-8 behind a byte that tells NULL from a text, with a second file that
says where each begins.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import AssetNotFoundError
from rasteret_sql.io.disk import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

_TEXT: Final = "text"
_BOUNDS: Final = ".bounds"


class MappedColumns(Mapping[str, Any]):
    """Columns by name: arrays, or sequences of texts.

    A pickled one is its path, so it serves the processes of one machine. The folder goes with the object that wrote it.

    Args:
        folder: holds the columns.
        dtypes: NumPy's name of each, or "text".
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, str]) -> None:
        self._folder, self._dtypes = folder, dict(dtypes)
        self._open: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Callable[..., MappedColumns], tuple[Any, ...]]:
        """Pickle the path."""
        return MappedColumns, (self._folder, self._dtypes)

    def __getitem__(self, name: str) -> Any:
        """Give a column, opened when it is first wanted.

        Raises:
            AssetNotFoundError: the folder is gone.
        """
        if name not in self._open:
            dtype = self._dtypes[name]
            if dtype == _TEXT:
                self._open[name] = MappedTexts(self._mapped(name, "u1"), self._mapped(name + _BOUNDS, "i8"))
            else:
                self._open[name] = self._mapped(name, dtype)
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._dtypes)

    def __len__(self) -> int:
        """Count the columns."""
        return len(self._dtypes)

    def _mapped(self, name: str, dtype: str) -> npt.NDArray[Any]:
        path = self._folder / name
        try:
            # An empty file cannot be mapped.
            return np.memmap(path, dtype, "r").view(np.ndarray) if path.stat().st_size else np.empty(0, dtype)
        except FileNotFoundError as error:
            raise AssetNotFoundError(
                f"{path}: is gone, expected the table of files of a dataset, which goes with the process that made it; "
                "make the dataset again, or hand it over with rasteret_sql.handoff"
            ) from error


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
    """Writes columns to a new temporary folder, each in as many pieces as it takes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rasteret_sql."))
        self._dtypes: dict[str, str] = {}

    def numbers(self, name: str, values: npt.NDArray[Any], dtype: str | None = None) -> None:
        """Append to a column of numbers.

        Args:
            name: of the column.
            values: what is appended.
            dtype: how it is kept, the same for all pieces; that of the values by default.
        """
        self._dtypes[name] = np.dtype(dtype or values.dtype).name
        with writing(self._folder / name), (self._folder / name).open("ab") as file:
            file.write(np.ascontiguousarray(values, self._dtypes[name]).tobytes())

    def texts(self, name: str, values: Iterable[str | None]) -> None:
        """Write a column of texts, once."""
        encoded = [b"\0" if value is None else b"\1" + value.encode() for value in values]
        self.numbers(name + _BOUNDS, np.cumsum([0, *map(len, encoded)], dtype=np.int64))
        self.numbers(name, np.frombuffer(b"".join(encoded), np.uint8))
        self._dtypes[name] = _TEXT

    def close(self) -> MappedColumns:
        """Give the columns. Their folder goes with them."""
        columns = MappedColumns(self._folder, self._dtypes)
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
