"""Where the bytes of a STAC asset are: alternate locations, and the buckets of the storage extension. Pure: no I/O."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.io.asked import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_sql.index.found import Found, Source


class AlternateSource:
    """Sources whose assets are read from alternate locations; at least one asset must have such a location.

    Args:
        sources: gone through in order.
        names: names of the wanted locations, best first.
    """

    def __init__(self, sources: Sequence[Source], names: Sequence[str]) -> None:
        self._sources = sources
        self._names = names

    def find(self) -> Iterator[Found]:
        """Go through the sources.

        Raises:
            BuildError: there are assets, but no asset has a location of these names.
        """
        seen: set[str] = set()
        has_items = False
        for source in self._sources:
            for found in source.find():
                seen |= found.alternates
                has_items = has_items or bool(found.items)
                yield found
        if has_items and not seen.intersection(self._names):
            expected = f"expected one of {', '.join(sorted(seen))}" if seen else "and none has alternate locations"
            raise BuildError(
                f"alternate: got {', '.join(self._names)}, which no asset has, {expected}; "
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
            f"alternate: got {value!r}, expected the name of a location such as 's3', or a list of them, best first"
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


_S3 = re.compile(r"s3a?://", re.IGNORECASE)
#: Errors that the storage extension can help with.
_ADVISED = frozenset({"AccessDeniedError", "AssetNotFoundError", "TransportError"})


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
    advice = " ".join(_advice(error, said)) if isinstance(said, dict) else ""
    return f"{message} {advice}" if advice else message


def _advice(error: str, said: Mapping[str, Any]) -> Iterator[str]:
    endpoint, region = said.get("endpoint"), said.get("region")
    if endpoint and not _is_set("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"):
        yield f"STAC says that its bucket is one of {endpoint}: set AWS_ENDPOINT_URL to that."
    if error == "AssetNotFoundError":
        return
    if error == "AccessDeniedError" and said.get("requester_pays") and not _pays():
        yield (
            "STAC says that whoever reads it pays (storage:requester_pays): give credentials of an AWS account and "
            "accept the cost with AWS_REQUEST_PAYER=requester."
        )
    if region and not _is_set("AWS_REGION", "AWS_DEFAULT_REGION"):
        yield f"STAC says that its region is {region}: set AWS_REGION={region}."


def _pays() -> bool:
    return os.environ.get("AWS_REQUEST_PAYER", "").lower() == "requester"


def _is_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)
