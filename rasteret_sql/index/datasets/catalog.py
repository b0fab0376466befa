"""Which datasets there are."""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.datasets.model import Dataset, read_dataset

#: Names a folder with entries of the user's own, one TOML file each.
FOLDER_VARIABLE = "RASTERET_SQL_DATASETS"
_ENTRIES = Path(__file__).parent / "entries"


def datasets(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, ...]:
    """Give the catalog of datasets: those of the package, and those that you keep in a folder.

    Args:
        folder: folder with TOML files of your own, one dataset each; by default the one that the environment
            variable RASTERET_SQL_DATASETS names, if any.

    Returns:
        The entries, by id.

    Raises:
        InvalidArgumentError: there is no such folder, a file in it is no entry, or two entries share an id.

    Example:
        >>> import rasteret_sql as rs
        >>> [one.id for one in rs.datasets() if one.authentication == "requester-pays"]
        ['earthsearch/landsat-c2-l2', 'earthsearch/naip']
    """
    entries = {entry.id: entry for entry in _built_in()}
    named = os.fspath(folder) if folder is not None else os.environ.get(FOLDER_VARIABLE, "")
    if named:
        for entry in _read_folder(Path(named).expanduser(), FOLDER_VARIABLE if folder is None else "folder"):
            if entry.id in entries:
                raise InvalidArgumentError(
                    f"{entry.file}: id: got {entry.id!r}, which {entries[entry.id].file} has too; "
                    f"expected an id of its own; choose another one"
                )
            entries[entry.id] = entry
    return tuple(entries[key] for key in sorted(entries))


def dataset(dataset_id: str, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Give one entry of the catalog.

    Raises:
        InvalidArgumentError: there is none of this id; the message has those that are called alike.
    """
    entries = {entry.id: entry for entry in datasets(folder)}
    if dataset_id in entries:
        return entries[dataset_id]
    alike = difflib.get_close_matches(dataset_id, entries, n=4, cutoff=0.4)
    raise InvalidArgumentError(
        f"dataset: got {dataset_id!r}, expected one of the catalog, such as {', '.join(alike or sorted(entries)[:4])}; "
        f"`rasteret-sql datasets` lists them"
    )


def is_dataset(text: str) -> bool:
    """Whether the catalog has an entry of this id, and no file or folder is called so."""
    return not Path(text).exists() and any(entry.id == text for entry in datasets())


@cache
def _built_in() -> tuple[Dataset, ...]:
    return tuple(read_dataset(path) for path in sorted(_ENTRIES.glob("*.toml")))


def _read_folder(folder: Path, named_by: str) -> list[Dataset]:
    if not folder.is_dir():
        raise InvalidArgumentError(
            f"{named_by}: got {folder}, which is no folder; expected one with a TOML file per dataset"
        )
    entries: dict[str, Dataset] = {}
    for path in sorted(folder.glob("*.toml")):
        entry = read_dataset(path)
        if entry.id in entries:
            raise InvalidArgumentError(
                f"{path}: id: got {entry.id!r}, which {entries[entry.id].file} has too; choose another one"
            )
        entries[entry.id] = entry
    return list(entries.values())
