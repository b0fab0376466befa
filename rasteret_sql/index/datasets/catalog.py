"""The catalog of datasets: its entries, and the TOML files that they are read from."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from rasteret_sql.checks import checked_path
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import count

Authentication = Literal["none", "requester-pays", "planetary-computer"]

#: Instructions for users, by the authentication of an entry; in messages and in the catalog.
REMEDIES: Mapping[Authentication, str] = {
    "none": "nothing is needed",
    "requester-pays": (
        "the reader pays for requests and transfer: give AWS credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_REGION) and accept the cost with AWS_REQUEST_PAYER=requester"
    ),
    "planetary-computer": (
        "short-lived tokens are fetched while files are read, without an account; "
        "PC_SDK_SUBSCRIPTION_KEY raises the limits"
    ),
}

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)+")
_URL = re.compile(r"(?:https?|s3|gs|az)://\S+")
#: Types of the values in a file, and their names in messages.
_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "text": (str, "a text"),
    "texts": (list, "a list of texts"),
    "number": ((int, float), "a number"),
    "table": (dict, "a table of texts"),
    "tables": (list, "a list of tables"),
}


@dataclass(frozen=True, slots=True)
class DatasetAsset:
    """The bands of one asset, as the catalog knows them.

    Attributes:
        key: the STAC asset key.
        bands: names of its bands, in the order of the file.
        common_names: their common names, one per band; empty for none.
        platforms: platforms of the items with these bands; empty for all.
        unit, scale, offset, nodata: of all its bands, if neither STAC nor the file has them.
    """

    key: str
    bands: tuple[str, ...] = ()
    common_names: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    unit: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None

    def band_list(self) -> tuple[Mapping[str, Any], ...]:
        """Give the bands as a source describes them."""
        both = {"unit": self.unit, "scale": self.scale, "offset": self.offset, "nodata": self.nodata}
        common = {name: value for name, value in both.items() if value is not None}
        described = []
        for number, name in enumerate(self.bands):
            band: dict[str, Any] = {"name": name, **common}
            if self.common_names and self.common_names[number]:
                band["common_name"] = self.common_names[number]
            described.append(band)
        return tuple(described)


@dataclass(frozen=True, slots=True)
class Dataset:
    """An entry of the catalog of datasets.

    Attributes:
        id: as `stac_search` and `rasteret-sql build` take it, "earthsearch/sentinel-2-l2a".
        title: its name.
        licence: SPDX id, or "proprietary".
        licence_url: the terms.
        attribution: the text that users of the data must cite.
        authentication: "none", "requester-pays" or "planetary-computer".
        endpoint: landing page of its STAC API, or "" if `table` has its files.
        collection: id of its collection.
        notes: remarks for users.
        assets: bands of its assets.
        mirrors: prefix of an href -> prefix of its mirror.
        table: URL or path of a Parquet file that names its files, or "".
        query: SELECT over `source`, the table, that gives `href` and other columns of a source.
        file: path of the entry.
    """

    id: str
    title: str
    licence: str
    attribution: str
    authentication: Authentication
    collection: str
    file: str
    endpoint: str = ""
    licence_url: str = ""
    notes: str = ""
    assets: tuple[DatasetAsset, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    table: str = ""
    query: str = ""

    def __repr__(self) -> str:
        """Name the entry in one line."""
        return f"<Dataset {self.id}: {self.title}>"

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import facts, link, panel, table

        described = [(asset, band) for asset in self.assets for band in asset.band_list() or ({},)]
        columns = [
            name
            for name in ("name", "common_name", "unit", "scale", "offset", "nodata")
            if any(name in band for _, band in described)
        ]
        return panel(
            "Dataset",
            self.id,
            facts(
                {
                    "title": self.title,
                    "collection": self.collection,
                    "endpoint": link(self.endpoint),
                    "table": link(self.table),
                    "authentication": f"{self.authentication}: {self.needs}",
                    "licence": link(self.licence_url, self.licence),
                    "attribution": self.attribution,
                    "notes": self.notes,
                }
            ),
            table(
                ("asset", *(name.replace("_", " ") for name in columns)),
                [(asset.key, *(band.get(name) for name in columns)) for asset, band in described],
            ),
        )

    @property
    def needs(self) -> str:
        """Give the instructions for users, by authentication."""
        return REMEDIES[self.authentication]

    def as_row(self) -> dict[str, Any]:
        """Give the entry as a row of the catalog."""
        return {
            "id": self.id,
            "title": self.title,
            "endpoint": self.endpoint or self.table,
            "collection": self.collection,
            "licence": self.licence,
            "attribution": self.attribution,
            "authentication": self.authentication,
            "needs": self.needs,
            "bands": self.band_map(),
            "notes": self.notes or None,
            "licence_url": self.licence_url or None,
            "file": self.file,
        }

    def band_map(self) -> dict[str, str]:
        """Give each name that `bands` takes -> "asset" or "asset:band number".

        Names are keys of assets, and names and common names of bands that mean one band on all platforms.
        """
        names = {asset.key: asset.key for asset in self.assets}
        doubtful: set[str] = set()
        # Keys of assets have precedence over names of bands.
        keys = {asset.key for asset in self.assets}
        for asset in self.assets:
            for number, (name, common) in enumerate(
                zip(asset.bands, asset.common_names or [""] * len(asset.bands), strict=True), 1
            ):
                target = asset.key if len(asset.bands) == 1 else f"{asset.key}:{number}"
                for one in (name, common):
                    if one and one not in keys and names.setdefault(one, target) != target:
                        doubtful.add(one)
        return {name: target for name, target in names.items() if name not in doubtful}


def read_dataset(path: Path) -> Dataset:
    """Read the file of an entry.

    Raises:
        InvalidArgumentError: a key or value is wrong; the message names file, key and expected value.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{path}: not a TOML file that can be read ({error}); correct it") from None
    reader = _Reader(str(path), document, "")
    values: dict[str, Any] = {
        name: reader.text(name) for name in ("id", "title", "licence", "attribution", "collection", "authentication")
    }
    values |= {name: reader.text(name, default="") for name in ("endpoint", "licence_url", "notes", "table", "query")}
    values["mirrors"] = reader.texts_by_name("mirrors")
    assets = [_asset(str(path), number, one) for number, one in enumerate(reader.tables("assets"))]
    reader.end()
    if not _ID.fullmatch(values["id"]):
        raise reader.wrong("id", "an id such as 'mine/sentinel-2', in lower case with a slash")
    if values["authentication"] not in get_args(Authentication):
        raise reader.wrong("authentication", f"one of {', '.join(get_args(Authentication))}")
    if bool(values["endpoint"]) == bool(values["table"]):
        raise reader.wrong("endpoint", "either the endpoint of a STAC API, or a table of files")
    if bool(values["table"]) != bool(values["query"]):
        raise reader.wrong("query", "a SELECT over source beside table")
    if values["endpoint"] and not _URL.fullmatch(values["endpoint"]):
        raise reader.wrong("endpoint", "the URL of a STAC API")
    return Dataset(**values, assets=tuple(assets), file=str(path))


def _asset(path: str, number: int, document: Any) -> DatasetAsset:
    reader = _Reader(path, document, f"assets[{number}].")
    asset = DatasetAsset(
        key=reader.text("key"),
        bands=reader.texts("bands"),
        common_names=reader.texts("common_names"),
        platforms=tuple(one.lower() for one in reader.texts("platforms")),
        unit=reader.text("unit", default="") or None,
        scale=reader.number("scale"),
        offset=reader.number("offset"),
        nodata=reader.number("nodata"),
    )
    reader.end()
    if asset.common_names and len(asset.common_names) != len(asset.bands):
        raise reader.wrong("common_names", f"one for each of the {len(asset.bands)} bands, '' for none")
    if len(set(asset.bands)) != len(asset.bands):
        raise reader.wrong("bands", "each name once")
    return asset


class _Reader:
    """Takes keys out of a table of a file, and refuses unknown keys at the end."""

    def __init__(self, path: str, document: Any, where: str) -> None:
        self._path = path
        self._where = where
        if not isinstance(document, Mapping):
            raise InvalidArgumentError(f"{path}: {where.rstrip('.')}: got {document!r}, expected a table")
        self._left = dict(document)
        self._all = document

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._take(name, "text", is_needed=default is None)
        if value is None:
            return default or ""
        if not value.strip():
            raise self.wrong(name, "a text that is not empty")
        return str(value).strip()

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._take(name, "texts", is_needed=False) or []
        if not all(isinstance(one, str) for one in value):
            raise self.wrong(name, "a list of texts")
        return tuple(value)

    def number(self, name: str) -> float | None:
        value = self._take(name, "number", is_needed=False)
        return None if value is None else float(value)

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        value = self._take(name, "table", is_needed=False) or {}
        if not all(key and isinstance(one, str) for key, one in value.items()):
            raise self.wrong(name, "a table of texts")
        return dict(value)

    def tables(self, name: str) -> list[Any]:
        return self._take(name, "tables", is_needed=False) or []

    def end(self) -> None:
        if self._left:
            name = next(iter(self._left))
            known = [one.name for one in fields(DatasetAsset if self._where else Dataset) if one.name != "file"]
            raise InvalidArgumentError(
                f"{self._path}: got the key {self._where}{name}, expected some of {', '.join(known)}; correct it"
            )

    def wrong(self, name: str, expected: str) -> InvalidArgumentError:
        got = repr(self._all[name]) if name in self._all else "nothing"
        return InvalidArgumentError(f"{self._path}: {self._where}{name}: got {got}, expected {expected}; correct it")

    def _take(self, name: str, kind: str, *, is_needed: bool) -> Any:
        kinds, described = _KINDS[kind]
        if name not in self._left:
            if is_needed:
                raise self.wrong(name, described)
            return None
        value = self._left.pop(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise self.wrong(name, described)
        return value


#: Environment variable with the folder of a user's own entries, one TOML file each.
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
    """Return the catalog of datasets: the datasets of the package, and your own in a folder.

    Args:
        folder: folder with TOML files of your own, one dataset each; by default the folder in the environment
            variable RASTERET_SQL_DATASETS, if it is set.

    Returns:
        The entries, by id, as a tuple.

    Raises:
        InvalidArgumentError: the folder does not exist, a file in it is no entry, or two entries share an id.

    Example:
        >>> import rasteret_sql as rs
        >>> [one.id for one in rs.datasets() if one.authentication == "requester-pays"]
        ['earthsearch/landsat-c2-l2', 'earthsearch/naip']
    """
    entries = {entry.id: entry for entry in _built_in()}
    named = str(checked_path("folder", folder)) if folder is not None else os.environ.get(FOLDER_VARIABLE, "")
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
        InvalidArgumentError: no entry has this id; the message has similar ids.
    """
    entries = {entry.id: entry for entry in datasets(folder)}
    if dataset_id in entries:
        return entries[dataset_id]
    alike = difflib.get_close_matches(dataset_id, entries, n=4, cutoff=0.4)
    raise InvalidArgumentError(
        f"dataset: got {dataset_id!r}, expected an id of the catalog, such as "
        f"{', '.join(alike or sorted(entries)[:4])}; "
        f"`rasteret-sql datasets` lists them"
    )


def is_dataset(text: str) -> bool:
    """Whether the catalog has an entry of this id, and no file or folder has this name."""
    return not Path(text).exists() and any(entry.id == text for entry in datasets())


@cache
def _built_in() -> tuple[Dataset, ...]:
    return tuple(read_dataset(path) for path in sorted(_ENTRIES.glob("*.toml")))


def _read_folder(folder: Path, named_by: str) -> list[Dataset]:
    if not folder.is_dir():
        raise InvalidArgumentError(
            f"{named_by}: got {folder}, which is no folder; expected a folder with a TOML file per dataset"
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
