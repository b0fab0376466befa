"""From a notebook to a training job: a dataset as one small file, which refuses to be opened on another index."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.checks import check_choice, check_flag, checked_path, is_one_of, shown
from rasteret_sql.database.hrefs import unsigned
from rasteret_sql.database.select_text import Scope
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.index.definition import kept_text
from rasteret_sql.training.fingerprint import fingerprint, require_same
from rasteret_sql.training.handoff_document import VERSION, document_text, read_document
from rasteret_sql.training.splits import check_blocks, check_seed, checked_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasteret_sql.training.dataset import RasteretDataset

_HEADER: Final = """\
# A dataset for training, written by rasteret_sql.handoff. Open it with
#     rasteret_sql.from_handoff({name!r}{split})
"""
#: Arguments of `to_torchgeo` that a file can hold; those left out are objects of Python.
_ARGUMENTS: Final = (
    "bands", "is_image", "geometry", "bbox", "geometry_crs", "datetime", "crs", "resolution", "resampling", "mosaic",
    "time_series", "groupby", "chips", "chip_size", "label_column", "scale", "scales", "offsets", "fill",
    "nodata", "dtype", "on_error",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
#: What SQL of a file may read, which may be somebody else's.
_OF_INDEX: Final = Scope(frozenset({"index"}))
_OF_CHIPS: Final = Scope(frozenset(), parquet=True)


@dataclass(frozen=True, slots=True)
class Handoff:
    """The contents of a hand-off file, and the part that was opened.

    Attributes:
        path: the file.
        index: path or URL of the index that was opened.
        query: the query that gave its rows.
        split: name of the part, or None for everything.
        seed: for samplers and all other random choices.
    """

    path: Path
    index: str
    query: str
    split: str | None
    seed: int

    def __repr__(self) -> str:
        """Describe it in one line; the attributes have the rest."""
        part = "all rows" if self.split is None else f"split {self.split!r}"
        return f"<Handoff {self.path.name}: {part}, seed {self.seed}, of {shown(self.index)}>"


def handoff(
    path: str | os.PathLike[str],
    index: str | os.PathLike[str],
    *,
    sql: str = "FROM index",
    splits: Mapping[str, str | float] | None = None,
    split: str = "items",
    block_m: float | None = None,
    gap_m: float | None = None,
    seed: int = 0,
    **dataset: Any,
) -> Path:
    """Save a dataset as a small file to review, commit and open elsewhere.

    The file has the path or URL of the index and its hash, the query, the splits, the seed and the arguments of
    `to_torchgeo`. Before it is written, the dataset is planned once.

    Args:
        path: path of the file, such as "train.toml". An existing file is replaced.
        index: path or URL of an index; one file. A path is written as it leads there from the folder of `path`.
        sql: query for its rows, from the table `index`: 'FROM index WHERE "eo:cloud_cover" < 20'.
        splits: parts by name, either each a condition in SQL ("split = 'train'"), or each a share from 0 to 1.
        split: what shares are of: "items", drawn by a hash of their id and the seed, so that they stay in their part
            when others come and go; or "blocks" of ground, as `split_blocks` makes them, so that parts do not touch.
        block_m, gap_m: metres of the sides of these blocks, and of the gaps between them; see `split_blocks`.
        seed: for shares, and for samplers: `generator(seed)` of what is opened.
        **dataset: arguments of `to_torchgeo`; `dtype` as a name, "float32".

    Returns:
        The path.

    Raises:
        InvalidArgumentError: an argument is wrong, or a file cannot hold it.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: a split is empty.
    """
    from rasteret_sql.sql.named_index import is_query

    path = checked_path("path", path)
    if path.is_dir() or not path.name:
        raise InvalidArgumentError(f"path: got {shown(path)}, expected the path of a file")
    if not isinstance(index, (str, os.PathLike)) or not isinstance(os.fspath(index), str):
        raise InvalidArgumentError(f"index: got {shown(index)}, expected the path or URL of an index")
    if not isinstance(sql, str):
        raise InvalidArgumentError(f"sql: got {shown(sql)}, expected a query, as text")
    index = os.fspath(index)
    values = _checked(dataset)
    listed = _checked_splits(splits)
    check_seed("seed", seed)
    blocks = _checked_blocks(listed, split, block_m, gap_m)
    contents = {
        "version": VERSION,
        "index": {"path": _from_folder(index, path.parent), **fingerprint(index)},
        "query": {"sql": kept_text(sql.strip().rstrip(";")), "seed": seed, **blocks},
        "splits": listed,
        "dataset": values,
    }
    if isinstance(values.get("chips"), str) and not is_query(values["chips"]):
        contents["chips"] = fingerprint(values["chips"])
        contents["dataset"] = values | {"chips": _from_folder(values["chips"], path.parent)}
    _check_sql(contents, path, trust=True)
    if isinstance(values.get("chips"), str):
        _require_chips(values["chips"])
    for part in listed if listed and not blocks else [None]:
        _require_rows(_query(contents, index, part), part)
    first = f", split={next(iter(listed))!r}" if listed else ""
    text = _HEADER.format(name=path.name, split=first) + document_text(contents)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise InvalidArgumentError(f"path: {path} cannot be written: {error.strerror}; check the folder") from error
    finally:
        aside.unlink(missing_ok=True)
    return path


def from_handoff(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    index: str | os.PathLike[str] | None = None,
    transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    trust: bool = False,
) -> RasteretDataset:
    """Open a dataset that `handoff` saved, here or on another machine.

    A file may come from anybody. Its query and splits are each checked by DuckDB's parser before anything runs: one
    SELECT, or one condition, over the index alone. A query of `chips` may also name Parquet files.

    Args:
        path: the file.
        split: one of its splits; None for everything. Of a table of chips that names items, those of the split.
        index: where the index lies here, if elsewhere than the file says; it must be the same one.
        transforms: as in `to_torchgeo`.
        trust: whether SQL of the file may read other tables and files than these. It cannot write in any case.

    Returns:
        The dataset; its `handoff` says what was opened, with the seed.

    Raises:
        InvalidArgumentError: the file is not a hand-off, has no such split, or holds SQL that does more than read the
            index.
        InvalidIndexError: the index, or the table of chips, differs from the index or the table of the hand-off.
        EmptyReadError: nothing is left to read.
    """
    from rasteret_sql.training.splits import split_blocks
    from rasteret_sql.training.torchgeo import to_torchgeo

    path = checked_path("path", path)
    check_flag("trust", trust)
    contents = _read(path)
    _check_sql(contents, path, trust=trust)
    known = contents["splits"]
    if split is not None and not is_one_of(split, known):
        expected = (
            f"one of {', '.join(map(repr, known))}, the splits of {path}" if known else f"None: {path} has no splits"
        )
        raise InvalidArgumentError(f"split: got {shown(split)}, expected {expected}")
    if index is None:
        where = _to_folder(contents["index"]["path"], path.parent)
    else:
        where = str(index) if isinstance(index, str) and "://" in index else str(checked_path("index", index))
    require_same("index", where, contents["index"], path)
    arguments = dict(contents["dataset"])
    chips = arguments.get("chips")
    from rasteret_sql.sql.named_index import is_query

    if isinstance(chips, str) and not is_query(chips) and "chips" not in contents:
        raise InvalidArgumentError(
            f"{path}: it names the chips {chips!r} without their hash, expected a table [chips] as "
            "rasteret_sql.handoff writes it; hand the dataset over again"
        )
    if "chips" in contents:
        arguments["chips"] = _to_folder(arguments["chips"], path.parent)
        require_same("chips", arguments["chips"], contents["chips"], path)
    if "dtype" in arguments:
        import torch

        arguments["dtype"] = getattr(torch, arguments["dtype"])
    blocks = {name: contents["query"].get(name) for name in ("block_m", "gap_m")}
    # A part by blocks of ground is cut out of the dataset of all rows.
    of_rows = split if blocks["block_m"] is None else None
    query = _query(contents, where, of_rows)
    _require_rows(query, of_rows, f"{path}: ")
    if "chips" in arguments:
        arguments["chips"] = _chips_of(
            arguments["chips"], query if of_rows is not None else None, None if trust else _OF_CHIPS
        )
    dataset = to_torchgeo(query, transforms=transforms, **arguments)
    if of_rows != split:
        dataset = split_blocks(dataset, known, seed=contents["query"]["seed"], **blocks)[str(split)]
    dataset.handoff = Handoff(path, where, query, split, contents["query"]["seed"])
    return dataset


def _checked(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments as a file holds them."""
    values: dict[str, Any] = {}
    for name, value in dataset.items():
        if name not in _ARGUMENTS:
            raise InvalidArgumentError(
                f"{name}: is no argument that a file can hold; expected some of {', '.join(_ARGUMENTS)}"
            )
        if value is None:
            continue
        if name == "dtype":
            value = str(value).rpartition(".")[2]  # noqa: PLW2901
            _check_dtype(value)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)  # noqa: PLW2901
        if isinstance(value, tuple):
            value = list(value)  # noqa: PLW2901
        if isinstance(value, Mapping) and name != "geometry":
            value = dict(value)  # noqa: PLW2901
        if name == "geometry" and not isinstance(value, str):
            value = json.dumps(getattr(value, "__geo_interface__", value))  # noqa: PLW2901
        if not _is_plain(value) or (name == "chips" and not isinstance(value, str)):
            raise InvalidArgumentError(
                f"{name}: got {type(value).__name__}, expected what a file can hold: text, numbers, a list of "
                "them or numbers by band"
            )
        values[name] = value
    return values


def _check_dtype(name: str) -> None:
    expected = ("float16", "bfloat16", "float32", "float64", "uint8", "int16", "int32", "int64")
    if name not in expected:
        raise InvalidArgumentError(f"dtype: got {shown(name)}, expected one of {', '.join(expected)}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, (str, int, float)) for each in value)
    if isinstance(value, dict):
        return all(isinstance(each, (int, float)) for each in value.values())
    return isinstance(value, (str, int, float, bool))


def _checked_splits(splits: Mapping[str, str | float] | None) -> dict[str, str | float]:
    if splits is not None and not isinstance(splits, Mapping):
        raise InvalidArgumentError(f"splits: got {shown(splits)}, expected a mapping of names to conditions or shares")
    listed = dict(splits or {})
    for name in listed:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidArgumentError(f"splits: got the name {shown(name)}, expected letters, digits, _ and -")
    shares = [value for value in listed.values() if not isinstance(value, str)]
    if not shares:
        return listed
    expected = "either conditions in SQL, or shares above 0 that add up to 1 at most"
    return dict(checked_shares("splits", listed, expected))


def _checked_blocks(splits: Mapping[str, str | float], split: Any, block_m: Any, gap_m: Any) -> dict[str, float]:
    """Give the sizes of blocks of ground as a file holds them; nothing where shares are of items."""
    check_choice("split", split, ("items", "blocks"))
    if split == "items":
        for name, value in (("block_m", block_m), ("gap_m", gap_m)):
            if value is not None:
                raise InvalidArgumentError(f'{name}: got {shown(value)} with split="items", expected split="blocks"')
        return {}
    if not splits or any(isinstance(value, str) for value in splits.values()):
        raise InvalidArgumentError(
            f'splits: got {shown(dict(splits))} with split="blocks", expected shares above 0 that add up to 1 at most'
        )
    block, gap = check_blocks(block_m, gap_m)
    return {"block_m": block} | ({} if gap is None else {"gap_m": gap})


def _query(contents: Mapping[str, Any], index: str, split: str | None) -> str:
    """Give the text of the query for a split; hrefs that are relative are led by the folder of the index."""
    from rasteret_sql.database.hrefs import is_url
    from rasteret_sql.database.select_text import nested
    from rasteret_sql.database.sqlfiles import quote_literal, quote_path, sql_file

    file = quote_literal(index) if is_url(index) else quote_path(index)
    reader = f"read_parquet({file}, hive_partitioning = false, filename = true)"
    rows = sql_file("index/many_files.sql").replace("FROM $files", f"FROM {reader}")
    query = f"WITH index AS ({rows}) FROM {nested(contents['query']['sql'])}"
    splits = contents["splits"]
    if split is None:
        return query
    if isinstance(splits[split], str):
        return f"{query} WHERE {nested(splits[split])}"
    shares, number = list(splits.values()), list(splits).index(split)
    # Sums of the same shares, so that one part ends exactly where the next begins.
    low, high = math.fsum(shares[:number]), math.fsum(shares[: number + 1])
    drawn = f"md5_number_lower(concat({contents['query']['seed']}, ':', item_id)) / 18446744073709551616.0"
    # The last one takes what rounding leaves.
    return f"{query} WHERE {drawn} >= {low!r} AND {drawn} < {1.1 if high > 1 - 1e-9 else high!r}"


def _check_sql(contents: Mapping[str, Any], path: Path, *, trust: bool) -> None:
    """Refuse SQL that is not one SELECT or one condition, or does more than read.

    Raises:
        InvalidArgumentError: there is such SQL.
    """
    from rasteret_sql.database.select_text import require_condition, require_select
    from rasteret_sql.sql.readers import planning_cursor

    scope = None if trust else _OF_INDEX
    with planning_cursor() as cursor:
        sql = contents["query"]["sql"]
        require_select(cursor, sql, f"{path}: query", scope=scope, error=InvalidArgumentError)
        for name, value in contents["splits"].items():
            if isinstance(value, str):
                what = f"{path}: splits: {name!r}"
                require_condition(cursor, value, what, scope=scope, error=InvalidArgumentError)


def _chips_of(chips: str, query: str | None, scope: Scope | None) -> Any:
    """Give the chips of the items of a split; those that name no item stay.

    Args:
        chips: path of a table, or the text of a query.
        query: gives the items of the split; None for all chips.
        scope: what the text of a query may read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from rasteret_sql.sql.readers import planning_cursor
    from rasteret_sql.training.chips import queried

    table = queried(chips, scope)
    if query is None or "item_id" not in table.column_names:
        return table
    with planning_cursor() as cursor:
        ids = cursor.sql(f"SELECT DISTINCT item_id FROM ({query})").to_arrow_table().column("item_id")  # noqa: S608
    return table.filter(pc.is_in(table.column("item_id"), pa.chunked_array(ids)))


def _require_chips(chips: str) -> None:
    """Refuse chips that cannot be read, before a file is written that nobody can open.

    Raises:
        InvalidArgumentError: they are no table.
    """
    from rasteret_sql.training.chips import queried

    queried(chips)


def _require_rows(query: str, split: str | None, file: str = "") -> None:
    """Refuse queries that do not run or give nothing.

    Args:
        query: the query for a split.
        split: name of the split, or None.
        file: what the message begins with.

    Raises:
        InvalidArgumentError: it does not run.
        EmptyReadError: it gives nothing.
    """
    import duckdb

    from rasteret_sql.database.select_text import message_of
    from rasteret_sql.sql.readers import planning_cursor

    named = file + ("sql" if split is None else f"splits: {split!r}")
    with planning_cursor() as cursor:
        try:
            ((count,),) = cursor.execute(f"SELECT count(*) FROM ({query})").fetchall()  # noqa: S608 - as above
        except duckdb.Error as error:
            raise InvalidArgumentError(f"{named}: the query does not run: {message_of(error)}") from error
    if not count:
        raise EmptyReadError(
            f"{named}: gives no rows of the index, expected some; widen it, or draw shares with another seed"
        )


def _from_folder(target: str, folder: Path) -> str:
    if "://" in target:
        return unsigned(target)
    if not _is_file(target):
        return target
    absolute = Path(target).expanduser().resolve()
    # A path that goes up more than twice is better read whole.
    relative = os.path.relpath(absolute, folder.resolve())
    return str(absolute) if relative.startswith("../../..") else Path(relative).as_posix()


def _to_folder(target: str, folder: Path) -> str:
    if "://" in target:
        return target
    return str(folder / Path(target).expanduser())


def _is_file(target: str) -> bool:
    return Path(target).expanduser().is_file()


def _read(path: Path) -> dict[str, Any]:
    contents = read_document(path)
    try:
        check_seed("query.seed", contents["query"]["seed"])
        splits, dataset = _checked_splits(contents.get("splits")), _checked(contents.get("dataset", {}))
        query = contents["query"]
        _checked_blocks(splits, "blocks" if "block_m" in query else "items", query.get("block_m"), query.get("gap_m"))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}: {error}") from error
    return contents | {"splits": splits, "dataset": dataset}
