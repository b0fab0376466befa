"""STAC items, versions 0.7 to 1.1, to items and TIFF assets: bands, and where the bytes are. Pure: no I/O.

pystac reads items too, but makes objects of all links and assets, and copies documents to migrate them. For an item
of 15 assets, its `Item.from_dict` takes 420 microseconds before a field is looked at; all of this module takes 190. A
build reads items by the hundred thousand.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.database.hrefs import TIFF_SUFFIXES, absolute, is_url, mirror_of, suffix_of
from rasteret_sql.errors import BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.geo.geometry import wkb_of
from rasteret_sql.index.found import TIME_NAMES, AssetRef, BandList, Found, FoundItem, ItemRef, parse_times
from rasteret_sql.index.report import Failure
from rasteret_sql.index.stac.classes import CLASSES, classes_of
from rasteret_sql.io import access
from rasteret_sql.io.asked import redact
from rasteret_sql.io.credentials import settings_for
from rasteret_sql.io.options import get_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_sql.index.found import Source, SourceOptions

_TIFF_TYPES = frozenset({"image/tiff", "image/vnd.stac.geotiff", "image/geotiff", "image/x.geotiff", "image/tif"})
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
#: Versions whose items have their collection among the properties; later such a property has no meaning.
_COLLECTION_IS_PROPERTY = ("0.4", "0.5", "0.6", "0.7")
#: Fields that describe the bands of an asset one by one; the first field has precedence.
_BAND_FIELDS = ("bands", "eo:bands", "raster:bands")
_S3 = re.compile(r"s3a?://", re.IGNORECASE)
#: Errors that the storage extension can help with.
_ADVISED = frozenset({"AccessDeniedError", "AssetNotFoundError", "TransportError"})


def take_item(
    found: Found, document: Mapping[str, Any], base: str | None, options: SourceOptions, *, named_by: str | None
) -> None:
    """Add one STAC item to `found`: its TIFF assets, or a failure.

    Args:
        found: receives the item.
        document: the item.
        base: path or URL that its relative hrefs are resolved against, or None for the working directory.
        options: which assets are wanted.
        named_by: path or URL of the document that the item was read from, or None for an object in memory: what it
            names is checked by that, since an item can give any `base`.
    """
    item_id = document.get("id")
    try:
        item, assets = _parse_item(found, document, base, options, named_by)
    except RasteretError as error:
        name = item_id if isinstance(item_id, str) else None
        found.failures.append(Failure(None, name, None, type(error).__name__, str(error)))
        return
    if assets:
        found.items.append(FoundItem(item, tuple(assets)))


def link_of(document: Mapping[str, Any], rel: str) -> str | None:
    """Give the href of the first link of a relation, or None."""
    for link in document.get("links") or ():
        if isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str):
            href: str = link["href"]
            return href
    return None


def own_base(document: Mapping[str, Any], base: str | None) -> str | None:
    """Give the base of relative hrefs of an item inside another document: its self link, or that document."""
    own = link_of(document, "self")
    is_told = own is not None and (is_url(own) or (base is None and os.path.isabs(own)))  # noqa: PTH117 - hrefs are text
    return own if is_told else base


def _parse_item(
    found: Found, document: Mapping[str, Any], base: str | None, options: SourceOptions, named_by: str | None
) -> tuple[ItemRef, list[AssetRef]]:
    item_id = document.get("id")
    if not isinstance(item_id, str) or not item_id:
        raise InvalidArgumentError(
            f"item {item_id!r}: got no text as its id, expected a text; correct the STAC document."
        )
    properties = document.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    raw_assets = document.get("assets")
    if not isinstance(raw_assets, dict):
        raise InvalidArgumentError(
            f"item {item_id!r}: got {type(raw_assets).__name__} as its assets, expected an object; "
            f"correct the STAC document."
        )
    times = parse_times(properties, f"item {item_id!r}")
    classes = classes_of({key: raw for key, raw in raw_assets.items() if isinstance(raw, dict)})
    if classes:
        properties = {CLASSES: classes} | properties
    item = ItemRef(
        item_id=item_id,
        collection=_collection(document, properties) or options.collection,
        geometry=wkb_of(document.get("geometry")),
        properties={name: value for name, value in properties.items() if name not in TIME_NAMES},
        **times,
    )
    assets = []
    for key, raw in raw_assets.items():
        if not isinstance(raw, dict) or not isinstance(raw.get("href"), str):
            found.failures.append(
                Failure(
                    None,
                    item_id,
                    key,
                    "InvalidArgumentError",
                    "the asset has no href; correct the STAC document.",
                )
            )
            continue
        named = locations(raw) if options.alternate else {}
        location = next((named[name] for name in options.alternate if name in named), raw)
        kind = _other_kind_of(raw, location)
        if kind is not None:
            found.left_out[kind] += 1
            continue
        found.asset_keys.add(key)
        if options.assets is not None and key not in options.assets:
            continue
        found.alternates.update(named)
        href, read_href = absolute(raw["href"], base), absolute(location["href"], base)
        mirror = mirror_of(read_href, options.href_map)
        try:
            if mirror is None:
                access.check_named(read_href, named_by)
        except RasteretError as error:
            found.failures.append(Failure(redact(read_href), item_id, key, type(error).__name__, str(error)))
            continue
        # STAC does not describe the mirrors that a caller names.
        roles = raw.get("roles")
        storage = storage_of(read_href, location, raw, properties=properties) if mirror is None else {}
        assets.append(
            AssetRef(
                asset=key,
                href=href,
                band_lists=_band_lists(raw, properties),
                proj=_proj(raw, properties) | storage,
                mirror=mirror or (read_href if read_href != href else None),
                media_type=_text(raw.get("type")),
                title=_text(raw.get("title")),
                roles=tuple(one for one in roles if isinstance(one, str)) if isinstance(roles, list) else (),
            )
        )
    return item, assets


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _collection(document: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    collection = document.get("collection")
    if collection is None and str(document.get("stac_version", "")).startswith(_COLLECTION_IS_PROPERTY):
        collection = properties.get("collection")
    return str(collection) if collection is not None else None


def _other_kind_of(raw: Mapping[str, Any], location: Mapping[str, Any]) -> str | None:
    """Give the kind of an asset that is no TIFF, or None for a TIFF; without a media type either href decides."""
    media_type = location.get("type") or raw.get("type")
    return _other_kind(media_type, location["href"]) and _other_kind(media_type, raw["href"])


def _other_kind(media_type: object, href: str) -> str | None:
    """Give the media type or extension of an asset that is no TIFF; None for a TIFF."""
    name = media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else ""
    if name in _UNTYPED:
        suffix = suffix_of(href)
        return None if suffix in TIFF_SUFFIXES else suffix or "unknown"
    return None if name in _TIFF_TYPES else name


def _band_lists(raw: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[BandList, ...]:
    lists = [_band_list(raw, properties, key) for key in _BAND_FIELDS]
    common = _band_fields(raw, asset_level=True)
    if common:
        # Fields of the asset hold for each of its bands; the header has their number.
        lists.append((common | {"every": True},))
    if not raw.get("raster:bands"):
        # raster:bands of the item hold for each asset; eo:bands of the item are the bands of all assets.
        lists.append(_band_list(properties, properties, "raster:bands"))
    return tuple(described for described in lists if described)


def _band_list(raw: Mapping[str, Any], properties: Mapping[str, Any], key: str) -> BandList:
    """Give the bands of a field; empty if there are none, or if one is unknown."""
    bands = raw.get(key)
    if not isinstance(bands, list):
        return ()
    described = [_band(band, properties.get(key)) for band in bands]
    known = tuple(band for band in described if band is not None)
    return known if len(known) == len(described) else ()


def _band(band: object, all_bands: object) -> dict[str, Any] | None:
    if isinstance(band, int) and isinstance(all_bands, list) and 0 <= band < len(all_bands):
        # Until 0.8, eo:bands of an asset are positions in those of the item.
        band = all_bands[band]
    return _band_fields(band, asset_level=False) if isinstance(band, dict) else None


def _band_fields(raw: Mapping[str, Any], *, asset_level: bool) -> dict[str, Any]:
    # The "description" of an asset is about the file, not about a band.
    sources = {
        "common_name": ("eo:common_name",),
        "nodata": ("nodata", "raster:nodata"),
        "scale": ("raster:scale",),
        "offset": ("raster:offset",),
        "unit": ("unit", "raster:unit"),
    }
    if not asset_level:
        sources |= {"name": ("name",), "description": ("description",)}
        sources |= {name: (name, f"eo:{name}", f"raster:{name}") for name in ("common_name", "scale", "offset")}
    fields = {}
    for name, keys in sources.items():
        value = next((raw[key] for key in keys if raw.get(key) is not None), None)
        if value is not None:
            fields[name] = value
    return fields


def _proj(raw: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give CRS, shape, transform and size of a file; the CRS may be that of the item."""
    proj: dict[str, Any] = {}
    for source in (properties, raw):
        epsg = source.get("proj:epsg", source.get("eo:epsg"))
        code = source.get("proj:code") or (f"EPSG:{epsg}" if isinstance(epsg, int) else None)
        code = code or source.get("proj:wkt2")
        if code is None and isinstance(source.get("proj:projjson"), dict):
            code = json.dumps(source["proj:projjson"])
        if isinstance(code, str):
            proj["code"] = code
    for name in ("shape", "transform"):
        value = raw.get(f"proj:{name}")
        if isinstance(value, list) and value:
            proj[name] = value
    size = raw.get("file:size")
    if isinstance(size, int) and not isinstance(size, bool):
        proj["file_size"] = size
    return proj


def with_alternates(sources: Sequence[Source], names: Sequence[str]) -> Iterator[Found]:
    """Go through sources whose assets are read from alternate locations.

    Args:
        sources: gone through in order.
        names: names of the wanted locations, best first.

    Raises:
        BuildError: there are assets, but no asset has a location of these names.
    """
    seen: set[str] = set()
    has_items = False
    for source in sources:
        for found in source:
            seen |= found.alternates
            has_items = has_items or bool(found.items)
            yield found
    if has_items and not seen.intersection(names):
        expected = f"expected one of {', '.join(sorted(seen))}" if seen else "and none has alternate locations"
        raise BuildError(
            f"alternate: got {', '.join(names)}, which no asset has, {expected}; "
            f"leave it out to read from the published href"
        )


def checked_alternate(value: object) -> tuple[str, ...]:
    """Read the names of locations, best first; None gives no names.

    Raises:
        InvalidArgumentError: the value is neither a name nor a list of names.
    """
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError(
            f"alternate: got {shown(value)}, expected the name of a location such as 's3', or a list of them, best "
            "first"
        )
    return tuple(dict.fromkeys(names))


def locations(asset: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the named locations of an asset.

    The key and the `alternate:name` of an alternate location are its names; keys have precedence. An asset can also
    name its own location.

    >>> sorted(locations({"href": "https://a/b.tif", "alternate": {"s3": {"href": "s3://a/b.tif"}}}))
    ['s3']
    """
    alternate = asset.get("alternate")
    named = {
        key: location
        for key, location in (alternate.items() if isinstance(alternate, Mapping) else ())
        if isinstance(location, Mapping) and isinstance(location.get("href"), str) and location["href"]
    }
    for location in [*named.values(), asset]:
        name = location.get("alternate:name")
        if isinstance(name, str) and name:
            named.setdefault(name, location)
    return named


def storage_of(href: str, *sources: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give the facts of the storage extension on the bucket of a file; empty for files outside S3.

    Args:
        href: path or URL of its bytes.
        sources: objects with storage fields, nearest first: the alternate location, the asset.
        properties: of its item.

    Returns:
        `requester_pays`, which is True, `region` and `endpoint`, where they are known.
    """
    if not _S3.match(href):
        return {}
    said: dict[str, Any] = {}
    levels = (*sources, properties)
    scheme = _scheme(sources, properties)
    # An item that describes a store of another provider does not describe this one.
    of_amazon = str(_nearest(levels, "storage:platform") or "AWS").upper() == "AWS"
    requester_pays, region = (
        scheme.get(name, _nearest(levels, f"storage:{name}") if of_amazon else None)
        for name in ("requester_pays", "region")
    )
    if requester_pays is True:
        said["requester_pays"] = True
    if isinstance(region, str) and region:
        said["region"] = region
    platform = scheme.get("platform")
    # For stores of others than Amazon the platform is the address, unless it is a template.
    if scheme.get("type") == "custom-s3" and isinstance(platform, str) and "{" not in platform:
        said["endpoint"] = redact(platform)
    return said


def _nearest(levels: Iterable[Mapping[str, Any]], name: str) -> Any:
    return next((level[name] for level in levels if level.get(name) is not None), None)


def _scheme(sources: tuple[Mapping[str, Any], ...], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the scheme of version 2 of a file in S3; empty for none."""
    schemes = properties.get("storage:schemes")
    if not isinstance(schemes, Mapping):
        return {}
    refs = _nearest(sources, "storage:refs")
    refs = refs if isinstance(refs, list) else []
    named = [schemes[ref] for ref in refs if isinstance(ref, str) and isinstance(schemes.get(ref), Mapping)]
    # Before 2.0.0 was final, schemes had no type.
    of_s3 = [scheme for scheme in named if str(scheme.get("type") or "s3").endswith("s3")]
    return of_s3[0] if of_s3 else {}


def with_advice(error: str, message: str, href: str | None, proj: str | None) -> str:
    """Add the facts of the storage extension to the message on a file that cannot be read.

    Args:
        error: name of the exception's class.
        message: the fault.
        href: path or URL of its bytes.
        proj: `AssetRef.proj` as JSON.
    """
    if error not in _ADVISED or not proj or not href or not _S3.match(href):
        return message
    try:
        said = json.loads(proj)
    except ValueError:
        # A table of a user may have any values in a column of that name.
        return message
    advice = (
        " ".join(_advice(error, said, dict(settings_for(href, get_options().credentials))))
        if isinstance(said, dict)
        else ""
    )
    return f"{message} {advice}" if advice else message


def _advice(error: str, said: Mapping[str, Any], settings: Mapping[str, str]) -> Iterator[str]:
    endpoint, region = said.get("endpoint"), said.get("region")
    if (
        endpoint
        and "endpoint" not in settings
        and not _is_set("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3")
    ):
        yield f"STAC says that its bucket is one of {endpoint}: set AWS_ENDPOINT_URL to that."
    if error == "AssetNotFoundError":
        return
    pays = settings.get("requester_pays", os.environ.get("AWS_REQUEST_PAYER", "").lower()) in {"true", "requester"}
    if error == "AccessDeniedError" and said.get("requester_pays") and not pays:
        yield (
            "STAC says that whoever reads it pays (storage:requester_pays): give credentials of an AWS account and "
            "accept the cost with AWS_REQUEST_PAYER=requester, or for one bucket with the option credentials "
            "(s3://BUCKET/?requester_pays=true)."
        )
    if region and "region" not in settings and not _is_set("AWS_REGION", "AWS_DEFAULT_REGION"):
        yield f"STAC says that its region is {region}: set AWS_REGION={region}."


def _is_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)
