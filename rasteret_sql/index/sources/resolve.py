"""Which source reads what the caller gave: paths, globs, URLs, tables, STAC objects, or a list of these."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any, Literal

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.hrefs import absolute, is_url, suffix_of
from rasteret_sql.index.model import Found
from rasteret_sql.index.report import Failure
from rasteret_sql.index.sources.alternate import AlternateSource
from rasteret_sql.index.sources.api import StacSearch
from rasteret_sql.index.sources.crawl import NdjsonSource, StacDocumentSource, StacObjectSource
from rasteret_sql.index.sources.files import FileSource
from rasteret_sql.index.sources.tables import TableSource, parquet_batches
from rasteret_sql.io import access
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.index.model import Source
    from rasteret_sql.index.sources.pattern import PathPattern
    from rasteret_sql.index.sources.stac import StacOptions

_EXPECTED = (
    "a path, glob or URL of TIFF or STAC files, a list of them, "
    "a table or Parquet file with an href column, STAC items, or a stac_search()"
)
_GLOB_CHARACTERS = frozenset("*?[")

Kind = Literal["stac", "ndjson", "parquet", "tiff"]


class _Failed:
    """A source that turned out to be none."""

    def __init__(self, failures: list[Failure]) -> None:
        self._failures = failures

    def find(self) -> Iterator[Found]:
        yield Found(failures=self._failures)


def resolve_source(source: Any, pattern: PathPattern | None, options: StacOptions) -> tuple[list[Source], str]:
    """Find what reads a source; from alternate locations, where the options name some.

    Returns:
        The sources, and how the index names them in its metadata, without secrets.

    Raises:
        InvalidArgumentError: it is nothing that can be read.
    """
    sources, described = _resolved(source, pattern, options)
    if options.alternate and not isinstance(source, StacSearch):
        sources = [AlternateSource(sources, options.alternate)]
    return sources, described


def _resolved(source: Any, pattern: PathPattern | None, options: StacOptions) -> tuple[list[Source], str]:
    if isinstance(source, StacSearch):
        return [source.source(options)], repr(source)
    if isinstance(source, (str, os.PathLike)):
        return _paths([os.fspath(source)], pattern, options), redact(os.fspath(source))
    if isinstance(source, dict) or (hasattr(source, "to_dict") and hasattr(source, "stac_extensions")):
        return [StacObjectSource(_as_dict(source), options)], "STAC items in memory"
    if isinstance(getattr(source, "items", None), list) and hasattr(source, "extra_fields"):
        return [StacObjectSource([_as_dict(item) for item in source.items], options)], "STAC items in memory"
    table = _as_table(source, pattern, options)
    if table is not None:
        return [table], f"a table in memory ({type(source).__name__})"
    if not hasattr(source, "__iter__") or isinstance(source, (bytes, bytearray)):
        raise InvalidArgumentError(f"source: got {type(source).__name__}, expected {_EXPECTED}")
    parts = list(source)
    if not parts:
        raise InvalidArgumentError(f"source: got an empty {type(source).__name__}, expected {_EXPECTED}")
    if all(isinstance(part, (str, os.PathLike)) for part in parts):
        paths = [os.fspath(part) for part in parts]
        return _paths(paths, pattern, options), "; ".join(redact(path) for path in paths[:20])
    documents = [_as_dict(part) for part in parts]
    return [StacObjectSource(documents, options)], "STAC items in memory"


def _as_dict(source: Any) -> Any:
    if isinstance(source, dict):
        return source
    if hasattr(source, "to_dict"):
        document = source.to_dict()
        own = source.get_self_href() if hasattr(source, "get_self_href") else None
        if own is not None:
            # pystac may write its own link as a relative one, and then nobody knows to what.
            others = [link for link in document.get("links", []) if link.get("rel") != "self"]
            document["links"] = [*others, {"rel": "self", "href": own}]
        return document
    raise InvalidArgumentError(f"source: got {type(source).__name__} in a list, expected {_EXPECTED}")


def _as_table(source: Any, pattern: PathPattern | None, options: StacOptions) -> TableSource | None:
    if hasattr(source, "to_wkb") and hasattr(source, "geometry"):
        # A GeoDataFrame; its own Arrow stream has Python objects as geometries.
        source = source.to_wkb()
    if not hasattr(source, "__arrow_c_stream__"):
        return None

    def batches() -> Any:
        import pyarrow as pa

        return pa.RecordBatchReader.from_stream(source)

    return TableSource(batches, "the table", pattern, options)


def _paths(paths: Sequence[str], pattern: PathPattern | None, options: StacOptions) -> list[Source]:
    if any(not path.strip() for path in paths):
        raise InvalidArgumentError(f"source: got an empty path, expected {_EXPECTED}")
    sources: list[Source] = []
    tiffs: list[str] = []
    failures: list[Failure] = []
    for path in paths:
        for name in _expanded(path, failures):
            kind = _kind(name)
            if kind == "tiff":
                tiffs.append(name)
            elif kind == "parquet":
                sources.append(_parquet_source(absolute(name), pattern, options))
            elif kind == "ndjson":
                sources.append(NdjsonSource(name, options))
            else:
                sources.append(StacDocumentSource(name, options))
    if tiffs:
        sources.append(FileSource(tiffs, pattern, options))
    if failures:
        sources.append(_Failed(failures))
    return sources


def _parquet_source(path: str, pattern: PathPattern | None, options: StacOptions) -> TableSource:
    if is_url(path):
        raise InvalidArgumentError(
            f"{redact(path)}: got the URL of a Parquet file, expected a local one; "
            f"download it, or read it with DuckDB and give the relation"
        )
    return TableSource(lambda: parquet_batches(path), path, pattern, options, base=path)


def _expanded(path: str, failures: list[Failure]) -> list[str]:
    """The files that a path or glob names; what is none is added to `failures`."""
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


def _kind(path: str) -> Kind:
    suffix = suffix_of(path)
    if suffix in {".json", ".geojson"}:
        return "stac"
    if suffix in {".ndjson", ".jsonl", ".geojsonl"}:
        return "ndjson"
    if suffix in {".parquet", ".geoparquet"}:
        return "parquet"
    if is_url(path) and not suffix.strip(".0123456789"):
        # Landing pages and collections of STAC APIs have no extension; "io-lulc-v0.2" only seems to.
        return "stac"
    return "tiff"
