"""Bearer tokens of servers: those of the option `credentials`, and that of NASA's Earthdata Login.

A token is a header of a request, and aiohttp drops this header where a redirect leaves the origin. So the signed
addresses to which Earthdata redirects never get it. `~/.netrc` is not read: at Earthdata it only works with cookies.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.credentials import bearer_token_of, has_credentials, is_bearer_token

#: The environment variable of NASA's own client, earthaccess.
EARTHDATA_VARIABLE: Final = "EARTHDATA_TOKEN"
#: Hosts of Earthdata end with one of these.
EARTHDATA_HOSTS: Final = (".earthdata.nasa.gov", ".earthdatacloud.nasa.gov")


def header_for(href: str, credentials: tuple[str, ...]) -> dict[str, str]:
    """Give the header of a request that has a bearer token, or none.

    Args:
        href: URL of the request. One with user and password has no token.
        credentials: of the options. Those of a prefix come before EARTHDATA_TOKEN.

    Raises:
        InvalidArgumentError: EARTHDATA_TOKEN is no token; the message does not show it.

    >>> header_for("https://example.com/a.tif", ("https://example.com/?bearer_token=abc",))
    {'Authorization': 'Bearer abc'}
    """
    if "@" in urlsplit(href).netloc:
        return {}
    token = bearer_token_of(href, credentials)
    if token is None and _is_of_earthdata(href) and not has_credentials(href, credentials):
        token = _of_environment()
    return {"Authorization": f"Bearer {token}"} if token else {}


def remedy(href: str, *, had_token: bool) -> str:
    """Say what helps where a server refused a file, or wants a login."""
    if had_token:
        return (
            "The request had a bearer token: it may have expired, or its account may not have accepted the terms of "
            "these files. Get another one"
            + (f" at https://urs.earthdata.nasa.gov, and set {EARTHDATA_VARIABLE}." if _is_of_earthdata(href) else ".")
        )
    if _is_of_earthdata(href):
        return (
            f"Files of Earthdata need a token: set {EARTHDATA_VARIABLE}, or bearer_token of the option credentials, to "
            "one of https://urs.earthdata.nasa.gov."
        )
    return "An index has no keys; the option credentials adds them to requests."


def _is_of_earthdata(href: str) -> bool:
    split = urlsplit(href)
    return split.scheme.lower() == "https" and (split.hostname or "").lower().endswith(EARTHDATA_HOSTS)


def _of_environment() -> str:
    token = os.environ.get(EARTHDATA_VARIABLE, "").strip()
    if token and not is_bearer_token(token):
        raise InvalidArgumentError(
            f"{EARTHDATA_VARIABLE}: got a text that is no bearer token, expected letters, digits and -._~+/= alone, as "
            "https://urs.earthdata.nasa.gov gives it"
        )
    return token
