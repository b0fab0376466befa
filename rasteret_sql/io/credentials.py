"""Keys of servers and buckets, used for requests alone: an index never has them, and no message shows them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from itertools import starmap
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from rasteret_sql.errors import InvalidArgumentError

#: Settings of a bucket or container, (name, value) each, in the order of their names.
Settings = tuple[tuple[str, str], ...]

_PORTS = {"http": 80, "https": 443}

_FAMILIES: Final = {
    "abfs": "az",
    "abfss": "az",
    "az": "az",
    "azure": "az",
    "gs": "gs",
    "hf": "hf",
    "s3": "s3",
    "s3a": "s3",
}
#: The settings that each kind of object store has; the names are those of DuckDB's CREATE SECRET where it has them.
NAMES: Final = {
    "az": ("account_name", "account_key", "anonymous", "endpoint", "sas_token"),
    "gs": ("anonymous", "endpoint", "service_account"),
    "hf": ("endpoint", "token"),
    "s3": ("anonymous", "endpoint", "key_id", "profile", "region", "requester_pays", "secret", "session_token"),
}
#: The setting of a prefix of `https` that is sent as a header, and what it may be: RFC 6750, section 2.1.
_BEARER_TOKEN: Final = "bearer_token"  # noqa: S105 - a name
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_SWITCHES: Final = frozenset({"anonymous", "requester_pays"})
_SECRETS: Final = frozenset(
    {"account_key", "key_id", "profile", "sas_token", "secret", "service_account", "session_token", "token"}
)


class _Credential(NamedTuple):
    """What is added to the URLs that begin like this one, or the settings of the objects there."""

    origin: tuple[str, str, int]
    path: str
    user: str = ""
    query: str = ""
    bearer_token: str | None = None
    settings: Settings = ()


def with_credentials(href: str, credentials: tuple[str, ...]) -> str:
    """Give a URL with the user and the parameters of the credential that has its longest prefix, or as it is.

    >>> with_credentials("https://example.com/a.tif?v=1", ("https://example.com/?apikey=secret",))
    'https://example.com/a.tif?v=1&apikey=secret'
    """
    best = _best(href, credentials)
    if best is None:
        return href
    split = urlsplit(href)
    netloc = f"{best.user}@{split.netloc}" if best.user and "@" not in split.netloc else split.netloc
    query = "&".join(filter(None, [split.query, best.query]))
    return split._replace(netloc=netloc, query=query, fragment="").geturl()


def bearer_token_of(href: str, credentials: tuple[str, ...]) -> str | None:
    """Give the bearer token of the credential that has the longest prefix of a URL, or None."""
    best = _best(href, credentials)
    return None if best is None else best.bearer_token


def has_credentials(href: str, credentials: tuple[str, ...]) -> bool:
    """Whether a credential has a prefix of an address."""
    return _best(href, credentials) is not None


def is_bearer_token(text: str) -> bool:
    """Whether a text can be sent as a bearer token: nothing in it ends a header."""
    return _TOKEN.fullmatch(text) is not None


def settings_for(href: str, credentials: tuple[str, ...]) -> Settings:
    """Give the settings of the credential that has the longest prefix of the address of an object.

    >>> settings_for("s3://scenes/a.tif", ("s3://scenes/?region=us-west-2&requester_pays=true",))
    (('region', 'us-west-2'), ('requester_pays', 'true'))
    """
    best = _best(href, credentials)
    return () if best is None else best.settings


def text_of(prefix: str, settings: Mapping[str, Any]) -> str:
    """Write a prefix and its settings as the text of one credential.

    >>> text_of("s3://scenes/", {"key_id": "a", "secret": "b+c", "anonymous": None})
    's3://scenes/?key_id=a&secret=b%2Bc'
    """
    given = {name: value for name, value in settings.items() if value is not None}
    pairs = [f"{quote(str(name), safe='')}={quote(_plain(value), safe='')}" for name, value in given.items()]
    mark = "&" if "?" in prefix else "?"
    return f"{prefix}{mark}{'&'.join(pairs)}" if pairs else prefix


def texts_of(credentials: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Write a mapping of prefixes to their settings as the texts of credentials.

    Raises:
        InvalidArgumentError: settings are no mapping; the message does not show them.
    """
    for number, settings in enumerate(credentials.values(), 1):
        if not isinstance(settings, Mapping):
            raise InvalidArgumentError(
                f"credentials: number {number} has settings of type {type(settings).__name__}; expected a mapping, "
                'for example {"s3://bucket/": {"region": "us-west-2"}}'
            )
    return tuple(starmap(text_of, credentials.items()))


def without(prefix: str, credentials: tuple[str, ...]) -> tuple[str, ...]:
    """Give the credentials of all prefixes but one."""
    return tuple(text for text in credentials if _prefix_of(text) != _prefix_of(prefix))


@functools.lru_cache(maxsize=8)
def parsed(credentials: tuple[str, ...]) -> tuple[_Credential, ...]:
    """Read credentials.

    Raises:
        InvalidArgumentError: one is no `https` URL with a user, a bearer token or parameters, and no bucket with
            settings; the message does not show it.
    """
    found = [_parsed(text) for text in credentials]
    for number, each in enumerate(found, 1):
        if each is None:
            names = "; ".join(f"{family}:// {', '.join(listed)}" for family, listed in sorted(NAMES.items()))
            raise InvalidArgumentError(
                f"credentials: number {number} is no URL such as https://host/folder/?apikey=KEY, "
                "https://host/?bearer_token=TOKEN, https://USER:PASSWORD@host/ or "
                "s3://bucket/folder/?key_id=ID&secret=SECRET; expected https, a host, and parameters, and a user or a "
                f"bearer token; or a bucket and its settings ({names}): key_id with secret, or profile; "
                "anonymous without any key, true or false for anonymous and requester_pays"
            )
    return tuple(each for each in found if each is not None)


def _best(href: str, credentials: tuple[str, ...]) -> _Credential | None:
    if not credentials:
        return None
    try:
        split = urlsplit(href)
        origin = _origin(split)
    except ValueError:
        # The store says what is wrong with it.
        return None
    # A prefix such as s3:// has no bucket, and is for all of them.
    fitting = [
        each
        for each in parsed(credentials)
        if each.origin in {origin, (origin[0], "", 0)} and _lies_in(split.path, each.path)
    ]
    return max(fitting, key=lambda each: (len(each.origin[1]), len(each.path)), default=None)


def _parsed(text: str) -> _Credential | None:
    try:
        split = urlsplit(text)
        origin = _origin(split)
    except ValueError:
        return None
    if origin[0] in NAMES:
        settings = _settings(origin[0], split.query)
        has_bucket = bool(origin[1]) or not split.path
        return _Credential(origin, split.path, settings=settings) if settings and has_bucket else None
    user = split.netloc.rpartition("@")[0]
    if not (is_private(split) and origin[1] and (user or split.query)):
        return None
    parts = split.query.split("&")
    tokens = [unquote(part.partition("=")[2]) for part in parts if part.partition("=")[0] == _BEARER_TOKEN]
    # A request has one header of this kind, which user and password take too.
    if len(tokens) + bool(user) > 1 or not all(map(is_bearer_token, tokens)):
        return None
    query = "&".join(part for part in parts if part.partition("=")[0] != _BEARER_TOKEN)
    return _Credential(origin, split.path, user, query, next(iter(tokens), None))


def _settings(family: str, query: str) -> Settings | None:
    """Read the settings of a bucket, or give None where they are not valid together."""
    # A plus is a plus: keys of AWS have some.
    pairs = [part.partition("=") for part in query.split("&") if part]
    found = {unquote(name): unquote(value) for name, _, value in pairs}
    if len(found) != len(pairs) or not set(found) <= set(NAMES[family]):
        return None
    for name in _SWITCHES & set(found):
        found[name] = found[name].lower()
        if found[name] not in {"true", "false"}:
            return None
    if ("key_id" in found) != ("secret" in found) or ("session_token" in found and "secret" not in found):
        return None
    if "profile" in found and "secret" in found:
        return None
    if found.get("anonymous") == "true" and _SECRETS & set(found):
        return None
    if "sas_token" in found and not is_private(urlsplit(found.get("endpoint", "https://"))):
        return None
    return tuple(sorted(found.items()))


def is_private(split: SplitResult) -> bool:
    """Whether nobody on the way to a server can read what is sent."""
    return split.scheme == "https" or (
        split.scheme == "http" and (split.hostname or "") in {"localhost", "127.0.0.1", "::1"}
    )


def _prefix_of(text: str) -> str:
    return text.partition("?")[0].rstrip("/")


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lies_in(path: str, folder: str) -> bool:
    return path.startswith(folder) and (folder.endswith("/") or path[len(folder) : len(folder) + 1] in {"", "/"})


def _origin(split: SplitResult) -> tuple[str, str, int]:
    scheme = split.scheme.lower()
    if scheme in _FAMILIES:
        return _FAMILIES[scheme], split.netloc, 0
    return scheme, (split.hostname or "").lower(), split.port or _PORTS.get(scheme, 0)
