"""Paths and URLs: absolute, at a mirror, or without their signature. Pure: no I/O."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit

from rasteret_sql.io.asked import CONTAINER_BEFORE_AT, without_inner_user

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")

#: Query parameters of S3, Google, Azure, CloudFront and Akamai signatures, and of the keys that other services take; in
#: lower case.
_SECRET_PARAMETER = re.compile(
    r"^(x-(amz|goog|api|ms)-.*|awsaccesskeyid|googleaccessid|signature|expires|key-pair-id|policy|hdn[et]a|hdnts|sas|"
    r"s[vertpk]|ss|sig|srt|spr|sip|skoid|sktid|skt|ske|sks|skv|sdd|saoid|suoid|scid|"
    r"(.*[-_.])?(token|key|apikey|subscriptionkey|accesskey|jwt|secret|password|passwd|pwd|auth|authorization|"
    r"credential|credentials|session|sessionid|hmac))$"
)
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_AUTHORITY = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)@")
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
#: Of files that hold an index.
INDEX_SUFFIXES = (".parquet", ".parq", ".geoparquet")


def is_url(href: str) -> bool:
    """Whether an href has a scheme; `file://` counts as a path."""
    return bool(_SCHEME.match(href)) and not href.startswith("file://")


def absolute(href: str, base: str | None = None) -> str:
    """Resolve an href.

    Args:
        href: path or URL, absolute or relative.
        base: path or URL of its document, or None for the working directory.

    >>> absolute("../a/B04.tif", "https://example.com/items/a.json?x=1")
    'https://example.com/a/B04.tif'
    >>> absolute("./B04.tif", "/data/items/a.json")
    '/data/items/B04.tif'
    """
    if href.startswith("file://"):
        return unquote(urlsplit(href).path)
    if is_url(href):
        return href
    if base is not None and is_url(base):
        split = urlsplit(base)
        if split.scheme in {"http", "https"}:
            return urljoin(base, href)
        joined = urljoin(f"https://{split.netloc}{split.path}", href)
        return split.scheme + joined.removeprefix("https")
    folder = os.path.dirname(base) if base is not None else ""  # noqa: PTH120 - hrefs are text
    return os.path.abspath(os.path.join(folder, href))  # noqa: PTH100, PTH118 - hrefs are text


def path_of(href: str) -> str:
    """Give the path of an href, percent-decoded and without query string."""
    return unquote(urlsplit(href).path) if is_url(href) else href


def suffix_of(href: str) -> str:
    """Give the extension of the file in lower case, with its dot; "" for none."""
    name = path_of(href).rstrip("/").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if dot and stem else ""


def unsigned(href: str) -> str:
    """Remove what may be a secret from a URL: user, password, keys, tokens, signatures; other parameters stay.

    >>> unsigned("https://me:pw@example.com/a.tif?version=2&sig=abc&se=2024-01-01#token=x")
    'https://example.com/a.tif?version=2'
    """
    if not is_url(href):
        return href
    found = _AUTHORITY.match(href)
    if found is not None and found[1].lower() not in CONTAINER_BEFORE_AT:
        href = f"{found[1]}://{href[found.end() :]}"
    href, hash_sign, fragment = href.partition("#")
    start, _, query = href.partition("?")
    head, mark, path = start.partition("://")
    start = f"{head}{mark}{without_inner_user(path)}"
    kept = "&".join(_without_inner(part) for part in query.split("&") if not _is_secret(part))
    href = f"{start}?{kept}" if kept else start
    has_secret = any(map(_is_secret, re.split("[&?;]", fragment)))
    return href if has_secret else f"{href}{hash_sign}{fragment}"


def _without_inner(parameter: str) -> str:
    """Remove what may be a secret from the URL that is the value of a parameter, such as `url=` of a tile server."""
    name, sign, value = parameter.partition("=")
    inner = unquote(value)
    if not is_url(inner):
        return parameter
    clean = unsigned(inner)
    return parameter if clean == inner else f"{name}{sign}{quote(clean, safe='')}"


def _is_secret(parameter: str) -> bool:
    name = parameter.partition("=")[0]
    # An escaped name is the same name to a server, and so is an escape of an escape to some.
    while (plain := unquote(name)) != name:
        name = plain
    name = name.strip()
    spellings = name, _WORD_STARTS.sub("_", name)  # ApiToken is api_token
    return any(_SECRET_PARAMETER.match(spelling.lower()) for spelling in spellings)


def mirror_of(href: str, href_map: Mapping[str, str]) -> str | None:
    """Give the mirror of an href: its longest prefix in `href_map` is replaced. None for no mirror.

    The signature is left out; for a mirror in a folder the whole query string is.
    """
    prefix = max((prefix for prefix in href_map if href.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return None
    rest = unsigned(href)[len(prefix) :]
    mirror = href_map[prefix]
    if is_url(href) and not is_url(mirror):
        rest = unquote(rest.partition("?")[0])
    return absolute(mirror + rest)
