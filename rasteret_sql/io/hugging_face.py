"""Addresses of the Hugging Face Hub, `hf://datasets/OWNER/NAME@REVISION/PATH`, as `https` addresses with a token."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.asked import redact
from rasteret_sql.io.credentials import is_private, settings_for

SCHEME: Final = "hf://"
_HUB: Final = "https://huggingface.co"
_REPOSITORY: Final = re.compile(
    r"hf://(?P<kind>datasets/|spaces/|models/)?(?!datasets/|spaces/|models/)(?P<owner>\w[\w.\-]*)/(?P<name>\w[\w.\-]*)"
    r"(?:@(?P<revision>[^/]+))?/(?P<path>.+)",
    re.DOTALL | re.IGNORECASE,
)


def resolved(href: str, credentials: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Give the address and the headers of a request for a file of the Hub.

    Args:
        href: `hf://datasets/OWNER/NAME/PATH`, `hf://spaces/OWNER/NAME/PATH`, or `hf://OWNER/NAME/PATH` for models.
            NAME may have @REVISION behind it, percent-encoded where it has a slash.
        credentials: of the options: `token` and `endpoint` of a prefix. Else the environment says them, as it does to
            the Hub's own library: HF_TOKEN or the file of HF_TOKEN_PATH, and HF_ENDPOINT.

    Raises:
        InvalidArgumentError: the address names no file of a repository.

    >>> resolved("hf://datasets/me/scenes@v2/a b.tif", ("hf://datasets/me/?endpoint=https://hub.example.com",))[0]
    'https://hub.example.com/datasets/me/scenes/resolve/v2/a%20b.tif'
    """
    match = _REPOSITORY.fullmatch(href)
    if match is None:
        raise InvalidArgumentError(
            f"{redact(href)}: this address names no file of the Hugging Face Hub; expected "
            "hf://datasets/OWNER/NAME/PATH, with @REVISION after NAME if it is not main."
        )
    settings = dict(settings_for(href, credentials))
    endpoint = settings.get("endpoint") or os.environ.get("HF_ENDPOINT") or _HUB
    kind = "" if match["kind"] is None or match["kind"].lower() == "models/" else match["kind"].lower()
    revision = quote(unquote(match["revision"] or "main"), safe="")
    url = (
        f"{endpoint.rstrip('/')}/{kind}{match['owner']}/{match['name']}/resolve/{revision}/"
        f"{quote(match['path'], safe='/')}"
    )
    token = settings.get("token") or _token()
    # The token would be for everybody on the way.
    return url, {"Authorization": f"Bearer {token}"} if token and is_private(urlsplit(endpoint)) else {}


def _token() -> str | None:
    given = os.environ.get("HF_TOKEN")
    if given:
        return given.strip()
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    path = Path(os.environ.get("HF_TOKEN_PATH") or os.path.join(home, "token")).expanduser()  # noqa: PTH118 - "~" stays
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
