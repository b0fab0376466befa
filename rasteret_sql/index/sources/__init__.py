"""Sources of assets. Each module of this folder is one kind of source, and this file finds the kind that reads a value.

A new kind is one new module here with a `KIND`. Sources know nothing of TIFF headers.
"""

from __future__ import annotations

import glob
import os
import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.hrefs import absolute, is_url
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.found import Found
from rasteret_sql.index.report import Failure
from rasteret_sql.index.stac.items import with_alternates
from rasteret_sql.io import access
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.index.found import Source, SourceKind, SourceOptions

EXPECTED = (
    "a path, glob or URL of TIFF or STAC files, a list of them, "
    "a table or Parquet file with an href column, STAC items, or a stac_search()"
)
_GLOB_CHARACTERS = frozenset("*?[")
#: Paths that the description of a source names.
_DESCRIBED_PATHS = 20


@cache
def source_kinds() -> tuple[SourceKind, ...]:
    """Import the modules of this folder and give their kinds, in the order in which they are tried."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    kinds: list[SourceKind] = [module.KIND for module in modules]
    return tuple(sorted(kinds, key=lambda kind: kind.rank))


def resolve_source(source: Any, options: SourceOptions) -> tuple[list[Source], str]:
    """Find the sources that read a value.

    Args:
        source: as `build_index` takes it.
        options: which assets are wanted, and where they are read.

    Returns:
        The sources, and their description for the metadata of the index, without secrets.

    Raises:
        InvalidArgumentError: no kind of source reads the value.
    """
    sources, described = _resolved(source, options)
    return [with_alternates(sources, options.alternate)] if options.alternate else sources, described


def _resolved(source: Any, options: SourceOptions) -> tuple[list[Source], str]:
    if isinstance(source, (str, os.PathLike)):
        return _of_paths([os.fspath(source)], options), redact(os.fspath(source))
    found = _of_object(source, options)
    if found is not None:
        return found
    if not hasattr(source, "__iter__") or isinstance(source, (bytes, bytearray)):
        raise InvalidArgumentError(f"source: got {type(source).__name__}, expected {EXPECTED}")
    parts = list(source)
    if not parts:
        raise InvalidArgumentError(f"source: got an empty {type(source).__name__}, expected {EXPECTED}")
    if all(isinstance(part, (str, os.PathLike)) for part in parts):
        paths = [os.fspath(part) for part in parts]
        return _of_paths(paths, options), "; ".join(redact(path) for path in paths[:_DESCRIBED_PATHS])
    found = _of_object(parts, options)
    if found is None:
        wrong = next(type(part).__name__ for part in parts if _of_object([part], options) is None)
        raise InvalidArgumentError(f"source: got {wrong} in a list, expected {EXPECTED}")
    return found


def _of_object(source: Any, options: SourceOptions) -> tuple[list[Source], str] | None:
    for kind in source_kinds():
        found = kind.of_object(source, options)
        if found is not None:
            return [found[0]], found[1]
    return None


def _of_paths(paths: Sequence[str], options: SourceOptions) -> list[Source]:
    if any(not path.strip() for path in paths):
        raise InvalidArgumentError(f"source: got an empty path, expected {EXPECTED}")
    failures: list[Failure] = []
    taken: dict[SourceKind, list[str]] = {kind: [] for kind in source_kinds()}
    for path in paths:
        for name in _expanded(path, failures):
            taken[next(kind for kind in taken if kind.takes_path(name))].append(name)
    sources: list[Source] = [
        source for kind, names in taken.items() if names for source in kind.of_paths(names, options)
    ]
    return [*sources, [Found(failures=failures)]] if failures else sources


def _expanded(path: str, failures: list[Failure]) -> list[str]:
    """Give the files that a path or glob names; a path without files is added to `failures`."""
    if is_url(path):
        return [path]
    path = os.path.expanduser(path)  # noqa: PTH111 - a glob is no path
    access.check_pattern(path)
    if os.path.isdir(path):  # noqa: PTH112
        pattern = os.path.join(path, "**/*.tif")  # noqa: PTH118
        message = f"{path}: this is a directory, expected a file; give a glob such as {pattern!r}"
        failures.append(Failure(absolute(path), None, None, "AssetNotFoundError", message))
        return []
    if not _GLOB_CHARACTERS.intersection(path) or os.path.exists(path):  # noqa: PTH110
        return [path]
    found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)]  # noqa: PTH113, PTH207
    names = sorted(access.kept_paths(found))
    if not names:
        message = f"{path}: no file matches this glob; the working directory is {os.getcwd()}"  # noqa: PTH109
        failures.append(Failure(absolute(path), None, None, "AssetNotFoundError", message))
    return names
