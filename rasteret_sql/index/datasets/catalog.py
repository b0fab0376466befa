"""Which datasets there are."""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.datasets.model import Dataset, read_dataset
from rasteret_sql.wording import count

#: Names a folder with entries of the user's own, one TOML file each.
FOLDER_VARIABLE = "RASTERET_SQL_DATASETS"
_ENTRIES = Path(__file__).parent / "entries"


class Catalog(tuple[Dataset, ...]):
    """Entries of the catalog, by id: a tuple that shows itself as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        """List ids, what is needed to read, and titles."""
        ids = max((len(entry.id) for entry in self), default=0)
        needs = max((len(entry.authentication) for entry in self), default=0)
        lines = [f"  {entry.id:<{ids}}  {entry.authentication:<{needs}}  {entry.title}" for entry in self]
        return "\n".join([f"<Catalog of {count(len(self), 'dataset')}>", *lines])

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import link, panel, table

        rows = [(entry.id, entry.title, entry.authentication, link(entry.licence_url, entry.licence)) for entry in self]
        return panel(
            "Catalog",
            f"of {count(len(self), 'dataset')}",
            table(("id", "title", "authentication", "licence"), rows),
        )


def datasets(folder: str | os.PathLike[str] | None = None) -> Catalog:
    """Give the catalog of datasets: those of the package, and those that you keep in a folder.

    Args:
        folder: folder with TOML files of your own, one dataset each; by default the one that the environment
            variable RASTERET_SQL_DATASETS names, if any.

    Returns:
        The entries, by id, as a tuple.

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
    return Catalog(entries[key] for key in sorted(entries))


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
