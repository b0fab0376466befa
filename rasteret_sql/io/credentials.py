"""Keys of servers of files, added to the URL of a request: an index never has them, and no message shows them."""

from __future__ import annotations

import functools
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from rasteret_sql.errors import InvalidArgumentError

_PORTS = {"http": 80, "https": 443}


class _Credential(NamedTuple):
    """What is added to the URLs that begin like this one."""

    origin: tuple[str, str, int]
    path: str
    user: str
    query: str


def with_credentials(href: str, credentials: tuple[str, ...]) -> str:
    """Give a URL with the user and the parameters of the credential that has its longest prefix, or as it is.

    >>> with_credentials("https://example.com/a.tif?v=1", ("https://example.com/?apikey=secret",))
    'https://example.com/a.tif?v=1&apikey=secret'
    """
    if not credentials:
        return href
    try:
        split = urlsplit(href)
        origin = _origin(split)
    except ValueError:
        # The store says what is wrong with it.
        return href
    fitting = [each for each in parsed(credentials) if each.origin == origin and _lies_in(split.path, each.path)]
    if not fitting:
        return href
    best = max(fitting, key=lambda each: len(each.path))
    netloc = f"{best.user}@{split.netloc}" if best.user and "@" not in split.netloc else split.netloc
    query = "&".join(filter(None, [split.query, best.query]))
    return split._replace(netloc=netloc, query=query, fragment="").geturl()


@functools.lru_cache(maxsize=8)
def parsed(credentials: tuple[str, ...]) -> tuple[_Credential, ...]:
    """Read credentials.

    Raises:
        InvalidArgumentError: one is no `https` URL with a user or parameters; the message does not show it.
    """
    found = [_parsed(text) for text in credentials]
    for number, each in enumerate(found, 1):
        if each is None:
            raise InvalidArgumentError(
                f"credentials: number {number} is no URL such as https://host/folder/?apikey=KEY or "
                "https://USER:PASSWORD@host/; expected https, a host, and a user or parameters"
            )
    return tuple(each for each in found if each is not None)


def _parsed(text: str) -> _Credential | None:
    try:
        split = urlsplit(text)
        origin = _origin(split)
    except ValueError:
        return None
    user = split.netloc.rpartition("@")[0]
    # What anybody on the way can read is no secret, save on this machine.
    is_safe = origin[0] == "https" or (origin[0] == "http" and origin[1] in {"localhost", "127.0.0.1", "::1"})
    return (
        _Credential(origin, split.path, user, split.query) if is_safe and origin[1] and (user or split.query) else None
    )


def _lies_in(path: str, folder: str) -> bool:
    return path.startswith(folder) and (folder.endswith("/") or path[len(folder) : len(folder) + 1] in {"", "/"})


def _origin(split: SplitResult) -> tuple[str, str, int]:
    scheme = split.scheme.lower()
    return scheme, (split.hostname or "").lower(), split.port or _PORTS.get(scheme, 0)
