"""The files of a shard as a table, and back: what a stranger may have written is checked as rows of an index are."""

from __future__ import annotations

import base64
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import MAX_SIDE
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.plan.files import Kind
from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, tile_format
from rasteret_sql.sql.row_checks import RowNames, check_kind, check_transforms
from rasteret_sql.tiff.ghost import Frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_sql.tiff.model import TileFormat

#: What a message recommends.
REMEDY: Final = "make the shard again"
#: Columns of text; those that may be NULL come last.
TEXTS: Final = ("item_id", "asset", "href", "address", "collection", "etag")
_NEEDED_TEXTS: Final = 4
_WHOLE: Final = ("kind", "crs", "level", "width", "height", "row_off", "col_off", "row_end", "col_end")
_WHOLE_OR_NULL: Final = ("datetime_us", "file_size")
_FLOATS: Final = ("modified_s", "x_size", "x_off", "y_size", "y_off")
_SCHEMA: Final = pa.schema(
    [pa.field(name, pa.string()) for name in TEXTS]
    + [pa.field(name, pa.int64()) for name in (*_WHOLE, *_WHOLE_OR_NULL)]
    + [pa.field(name, pa.float64()) for name in _FLOATS]
)
_FORMAT: Final[Mapping[str, type | tuple[type, ...]]] = {
    "byte_order": str, "dtype": str, "bits_per_sample": int, "samples_per_pixel": int, "planar": bool,
    "compression": int, "predictor": int, "photometric": int, "fill_order": int, "tile_width": int,
    "tile_height": int, "tiled": bool, "jpeg_tables": (str, type(None)), "ycbcr_subsampling": list,
    "codec_parameters": list,
}  # fmt: skip
_NUMBER: Final = (int, float, type(None))
_BAND: Final[Mapping[str, type | tuple[type, ...]]] = {
    "band": int, "name": str, "position": int, "nodata": _NUMBER, "scale": _NUMBER, "offset": _NUMBER,
    "unit": (str, type(None)),
}  # fmt: skip
_KIND: Final[Mapping[str, type | tuple[type, ...]]] = {
    "format": dict, "mask_format": (dict, type(None)), "leader": bool, "trailer": bool,
    "alpha_band": (int, type(None)), "bands": list,
}  # fmt: skip


def table_of_files(assets: Sequence[PlannedAsset]) -> tuple[pa.Table, list[dict[str, Any]], list[str | None]]:
    """Give files as a table, the kinds that its column `kind` counts in, and what its column `crs` counts in."""
    kinds: dict[Any, int] = {}
    crs: dict[str | None, int] = {}
    rows = []
    for asset in assets:
        kind = asset.format, asset.mask_format, asset.frames, asset.alpha_band, asset.bands
        a, c, e, f = (None,) * 4 if asset.transform is None else (asset.transform[place] for place in (0, 2, 4, 5))
        rows.append(
            (
                asset.item_id, asset.asset, asset.href, asset.address, asset.collection, asset.identity.etag,
                kinds.setdefault(kind, len(kinds)), crs.setdefault(asset.crs, len(crs)), asset.level, asset.width,
                asset.height, asset.row_off, asset.col_off, asset.row_end, asset.col_end, asset.datetime_us,
                asset.identity.size, asset.identity.modified_s, a, c, e, f,
            )
        )  # fmt: skip
    columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA), [_written(*kind) for kind in kinds], list(crs)


def _written(
    form: TileFormat, mask_form: TileFormat | None, frames: Frames, alpha_band: int | None,
    bands: Sequence[PlannedBand],
) -> dict[str, Any]:  # fmt: skip
    return {
        "format": _format_values(form),
        "mask_format": None if mask_form is None else _format_values(mask_form),
        "leader": frames.leader,
        "trailer": frames.trailer,
        "alpha_band": alpha_band,
        "bands": [{name: getattr(band, name) for name in _BAND} for band in bands],
    }


def _format_values(form: TileFormat) -> dict[str, Any]:
    values = {field.name: getattr(form, field.name) for field in fields(form)}
    tables = None if form.jpeg_tables is None else base64.b64encode(form.jpeg_tables).decode()
    return values | {"jpeg_tables": tables}


def header_of_files(header: Mapping[str, Any]) -> tuple[list[tuple[Kind, TileFormat | None]], list[str | None]]:
    """Read kinds and CRSs of a header: each kind with the format of its masks.

    Raises:
        InvalidArgumentError: one of them is none.
        InvalidIndexError: a format or a band is none.
    """
    crs = header["crs"]
    if not all(code is None or isinstance(code, str) for code in crs):
        raise InvalidArgumentError(f"header: crs is {crs!r:.60}, expected texts or null; {REMEDY}")
    return [_kind(number, kind) for number, kind in enumerate(header["kinds"])], crs


def _kind(number: int, written: Any) -> tuple[Kind, TileFormat | None]:
    where = f"header: kinds[{number}]"
    _check_types(where, written, _KIND)
    listed = [written["format"], *([] if written["mask_format"] is None else [written["mask_format"]])]
    structs = []
    for form in listed:
        _check_types(f"{where}.format", form, _FORMAT)
        for name in ("ycbcr_subsampling", "codec_parameters"):
            if any(type(each) is not int for each in form[name]) or (name[0] == "y" and len(form[name]) != 2):
                raise InvalidArgumentError(f"{where}.{name}: got {form[name]!r:.60}, expected whole numbers; {REMEDY}")
        structs.append(form | {"jpeg_tables": _decoded(f"{where}.format.jpeg_tables", form["jpeg_tables"])})
    for band in written["bands"]:
        _check_types(f"{where}.bands", band, _BAND)
    bands = tuple(PlannedBand(**{name: band[name] for name in _BAND}) for band in written["bands"])
    names = RowNames([None], [where], remedy=REMEDY)
    check_kind(names, 0, structs, bands)
    samples = structs[0]["samples_per_pixel"]
    sides = [struct[name] for struct in structs for name in ("tile_width", "tile_height")]
    if max(sides) > MAX_SIDE or not all(1 <= band.band <= samples for band in bands):
        raise InvalidArgumentError(
            f"{where}: got tiles of {max(sides)} pixels and bands {[band.band for band in bands]}, expected "
            f"{MAX_SIDE} at most, and bands from 1 to {samples}; {REMEDY}"
        )
    forms = [tile_format({name: struct[name] for name in _FORMAT}) for struct in structs]
    alpha = written["alpha_band"]
    if alpha is not None and not 1 <= alpha <= samples:
        raise InvalidArgumentError(f"{where}.alpha_band: got {alpha}, expected 1 to {samples}; {REMEDY}")
    kind = Kind(Frames(written["leader"], written["trailer"]), (forms[0],), bands, alpha)
    return kind, forms[1] if len(forms) > 1 else None


def _decoded(where: str, text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidArgumentError(f"{where}: got {text!r:.60} ({error}), expected base64; {REMEDY}") from error


def _check_types(where: str, value: Any, types: Mapping[str, type | tuple[type, ...]]) -> None:
    """Refuse what is no JSON object with values of these types; bool is no int."""
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{where}: got {value!r:.60}, expected an object; {REMEDY}")
    for name, kinds in types.items():
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if name not in value or type(value[name]) not in allowed:
            listed = " or ".join(kind.__name__ for kind in allowed)
            raise InvalidArgumentError(f"{where}.{name}: got {value.get(name)!r:.60}, expected {listed}; {REMEDY}")


def files_of_table(
    table: pa.Table, known: tuple[Sequence[tuple[Kind, TileFormat | None]], Sequence[str | None]]
) -> tuple[PlannedAsset, ...]:
    """Read files of a table.

    Args:
        table: as `table_of_files` gives it.
        known: kinds and CRSs, as `header_of_files` gives them.

    Raises:
        InvalidArgumentError: the table has other columns.
        InvalidIndexError: a file contradicts itself.
    """
    if table.schema.remove_metadata() != _SCHEMA:
        raise InvalidArgumentError(
            f"files: got the columns {', '.join(table.column_names)[:200]}, expected {', '.join(_SCHEMA.names)}, each "
            f"of its type; {REMEDY}"
        )
    kinds, crs = known
    rows = {name: table.column(name).to_pylist() for name in _SCHEMA.names}
    _check_files(table, rows, len(kinds), len(crs))
    found = []
    for number in range(len(table)):
        row = {name: column[number] for name, column in rows.items()}
        kind, mask_format = kinds[row["kind"]]
        a, c, e, f = (row[name] for name in ("x_size", "x_off", "y_size", "y_off"))
        found.append(
            PlannedAsset(
                row["collection"], row["item_id"], row["asset"], row["datetime_us"], row["href"], row["address"],
                FileIdentity(row["etag"], row["file_size"], row["modified_s"]), kind.frames, row["level"],
                row["width"], row["height"], crs[row["crs"]], None if a is None else (a, 0.0, c, 0.0, e, f),
                kind.formats[0], mask_format, kind.alpha_band, kind.bands, row["row_off"], row["col_off"],
                row["row_end"], row["col_end"],
            )
        )  # fmt: skip
    return tuple(found)


def _check_files(table: pa.Table, rows: Mapping[str, list[Any]], kinds: int, crs: int) -> None:
    names = RowNames(rows["item_id"], rows["asset"], remedy=REMEDY)
    every = np.arange(len(table))
    for name in (*TEXTS[:_NEEDED_TEXTS], *_WHOLE):
        is_there = ~np.array(table.column(name).is_null())
        names.require(is_there, every, name, np.where(is_there, "a value", "NULL"), "a value")
    values = {name: table.column(name).to_numpy() for name in _WHOLE}
    for name, low, high in (
        ("kind", 0, kinds - 1), ("crs", 0, crs - 1), ("level", 0, MAX_SIDE), ("width", 1, MAX_SIDE),
        ("height", 1, MAX_SIDE), ("row_off", 0, values["height"]), ("col_off", 0, values["width"]),
        ("row_end", values["row_off"], values["height"]), ("col_end", values["col_off"], values["width"]),
    ):  # fmt: skip
        is_right = (values[name] >= low) & (values[name] <= high)
        names.require(is_right, every, name, values[name], "a number within the shard's own")
    size = np.array([0 if each is None else each for each in rows["file_size"]], np.int64)
    names.require(size >= 0, every, "file_size", size, "0 or more bytes")
    # As an index has it, where NULL is no transform.
    grid = {name: _masked(rows[name]) for name in _FLOATS[1:]}
    length = np.ma.masked_array(np.full(len(table), 6), np.all([column.mask for column in grid.values()], axis=0))
    zeros = np.ma.masked_array(np.zeros(len(table)))
    check_transforms(names, grid | {"x_skew": zeros, "y_skew": zeros, "transform_length": length})


def _masked(values: list[float | None]) -> Any:
    """Give numbers, some of which are None, as a masked array."""
    mask = [value is None for value in values]
    return np.ma.masked_array([0.0 if value is None else value for value in values], mask, np.float64)
