"""The region of an S3 bucket, which S3 tells whoever asked in another one."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

from rasteret_sql.io.options import get_options

if TYPE_CHECKING:
    from rasteret_sql.io.credentials import Settings

_AWS: Final = "https://s3.amazonaws.com"
_HEADER: Final = "x-amz-bucket-region"
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
#: S3 names the region in the body of an answer to a request that was signed for another one.
_IN_BODY: Final = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def is_about_region(error: BaseException) -> bool:
    """Whether S3 refused a request because its bucket is in another region."""
    text = str(error)
    return "redirect without LOCATION" in text or "AuthorizationHeaderMalformed" in text


async def region_after(error: BaseException, bucket: str, settings: Settings) -> str | None:
    """Give the region of a bucket after an error that is about it, or None where nobody tells.

    Args:
        error: of a request to the bucket.
        bucket: its URL, `s3://NAME`.
        settings: of its store; `endpoint` or the environment may name another server than AWS.
    """
    found = _IN_BODY.search(str(error))
    if found is not None:
        return found[1]
    endpoint = dict(settings).get("endpoint") or next(filter(None, map(os.environ.get, _ENDPOINTS)), _AWS)
    return await asyncio.to_thread(_asked, f"{endpoint.rstrip('/')}/{bucket.partition('://')[2]}")


def _asked(url: str) -> str | None:
    # The bucket is in the path: names with dots fit no certificate of a host.
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - of AWS, or as the user set it
    try:
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=get_options().connect_s) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        # S3 tells the region with 301 and 403 too.
        with error:
            headers = error.headers
    except (OSError, ValueError):
        return None
    region = headers.get(_HEADER, "")
    return region if _REGION.fullmatch(region) else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the first answer tells the region."""

    def redirect_request(self, *_arguments: object) -> None:
        """Give no further request."""
