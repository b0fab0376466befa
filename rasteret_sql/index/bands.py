"""What STAC and the TIFF header say of the bands of a file, made one. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_sql.index.model import BandList
    from rasteret_sql.tiff.model import Band

_TEXTS = ("name", "common_name", "description", "unit")
_NUMBERS = ("nodata", "scale", "offset")


def merge_bands(bands: Sequence[Band], band_lists: Sequence[BandList], asset: str) -> list[dict[str, Any]]:
    """Describe the bands of a file.

    nodata, scale, offset and unit are those of the TIFF header, and of the source where the header has none.
    The name is that of the source, else the description in the TIFF, else the asset key where there is one
    band, else the number of the band.

    Args:
        bands: as the header describes them.
        band_lists: as the source describes them. A list is used only where it fits: one entry per band,
            not counting alpha bands that it may leave out.
        asset: key of the asset.

    Returns:
        One entry per band, with the fields of `bands` in the index.
    """
    fitting = [described for described in (_fitted(bands, one) for one in band_lists) if described]
    return [_merged(band, [described[at] for described in fitting], asset, len(bands)) for at, band in enumerate(bands)]


def _fitted(bands: Sequence[Band], described: BandList) -> list[Mapping[str, Any]]:
    nothing: Mapping[str, Any] = {}
    if len(described) == 1 and described[0].get("every"):
        return [nothing if band.is_alpha else described[0] for band in bands]
    if len(described) == len(bands):
        return list(described)
    if len(described) == sum(not band.is_alpha for band in bands):
        entries = iter(described)
        return [nothing if band.is_alpha else next(entries) for band in bands]
    return []


def _merged(band: Band, described: Sequence[Mapping[str, Any]], asset: str, band_count: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for entry in described:
        for name in _TEXTS:
            if isinstance(entry.get(name), str) and entry[name]:
                said.setdefault(name, entry[name])
        for name in _NUMBERS:
            number = _number(entry.get(name))
            if number is not None:
                said.setdefault(name, number)
    own_name = band.description or (asset if band_count == 1 else str(band.band))
    return {
        "name": said.get("name") or own_name,
        "band": band.band,
        "common_name": said.get("common_name"),
        "description": band.description or said.get("description"),
        "nodata": _first(_number(band.nodata), said.get("nodata")),
        "scale": _first(band.scale, said.get("scale")),
        "offset": _first(band.offset, said.get("offset")),
        "unit": band.unit or said.get("unit"),
        "is_alpha": band.is_alpha,
    }


def _first(header: float | None, source: float | None) -> float | None:
    return source if header is None else header


def _number(value: object) -> float | None:
    """A number, also one that STAC writes as text: "nan", "inf", "-inf"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
