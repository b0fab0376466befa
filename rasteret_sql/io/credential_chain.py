"""Where object stores find credentials by themselves. Where they would find none, public objects are read unsigned.

obstore asks the metadata service of a machine if nothing else has credentials. Outside of clouds nobody answers there,
and obstore would try for a long time. So the service is asked here first: once, and with the timeout of AWS's tools.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import AccessDeniedError
from rasteret_sql.io.aws_profile import profile

if TYPE_CHECKING:
    from rasteret_sql.io.credentials import Settings

#: Longest silence of a metadata service, in seconds: the default of AWS's own tools.
METADATA_S: Final = 1.0
#: Longest time for all of its answers and the look-up of its name, in seconds.
TOTAL_S: Final = 3.0
#: Seconds for which a machine without a role is not asked again.
NOTHING_S: Final = 300.0

_TRUE: Final = frozenset({"1", "on", "true", "yes"})
#: Settings of the option `credentials` that are keys, or say that there are none.
_DECIDING: Final = frozenset(
    {"account_key", "anonymous", "key_id", "profile", "sas_token", "secret", "service_account"}
)
#: Variables whose value decides that requests are not signed.
_UNSIGNED: Final = ("AWS_NO_SIGN_REQUEST", "AWS_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE", "AZURE_SKIP_SIGNATURE")
_AZURE_ACCOUNT: Final = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_ACCOUNT_NAME")
_AZURE_METADATA: Final = "http://169.254.169.254/metadata/identity/oauth2/token"


@dataclass(frozen=True, slots=True)
class _Chain:
    """The places of one kind of store.

    Attributes:
        variables: names of environment variables that are credentials, as a pattern.
        named: the variables and files, for messages.
    """

    variables: re.Pattern[str]
    named: str


_CHAINS: Final = {
    "s3": _Chain(
        re.compile(r"AWS_(ACCESS_KEY_ID|WEB_IDENTITY_TOKEN_FILE|CONTAINER_CREDENTIALS_(RELATIVE|FULL)_URI)"),
        "AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_*, keys of AWS_PROFILE or of the "
        "profile default in ~/.aws",
    ),
    "gs": _Chain(
        re.compile(r"GOOGLE_(APPLICATION_CREDENTIALS|BEARER_TOKEN|SERVICE_ACCOUNT.*)|STORAGE_EMULATOR_HOST"),
        "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT*, gcloud's application_default_credentials.json",
    ),
    "az": _Chain(
        re.compile(r"AZURE_.*(KEY|SAS|TOKEN|CLI|IDENTITY|MSI|EMULATOR|FABRIC|OBJECT_ID).*|(IDENTITY|MSI)_ENDPOINT"),
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID and other AZURE_*",
    ),
}
_GCLOUD: Final = "~/.config/gcloud/application_default_credentials.json"
_KINDS: Final = {"abfs": "az", "abfss": "az", "az": "az", "gs": "gs", "s3": "s3"}

#: When a metadata service that had no credentials may be asked again, by its address; never removed for one that had.
_without_role: dict[str, float] = {}
_with_role: set[str] = set()


async def find(bucket: str, settings: Settings) -> str | None:
    """Look for credentials of a bucket or container.

    Args:
        bucket: its URL.
        settings: of the option `credentials`.

    Returns:
        None where there are some, or where settings or variables say that requests are not signed. Otherwise the places
        that were looked at, for messages.

    Raises:
        AccessDeniedError: there are none, and the reader has to pay, for which nobody can be asked.
        InvalidArgumentError: AWS_PROFILE names a profile without keys.
    """
    kind = _KINDS.get(bucket.partition("://")[0].lower())
    given = dict(settings)
    if kind is None or not _DECIDING.isdisjoint(given) or _has_local(kind):
        return None
    if kind == "az" and not ("account_name" in given or "@" in bucket or any(map(os.environ.get, _AZURE_ACCOUNT))):
        # The store says what is missing.
        return None
    service = _metadata_service(kind)
    said = "AWS_EC2_METADATA_DISABLED"
    if service is not None:
        if await _has_role(kind, service):
            return None
        said = f"the metadata service of this machine ({service})"
    places = f"the option credentials, {_CHAINS[kind].named}, {said}"
    pays = given.get("requester_pays") or str(os.environ.get("AWS_REQUEST_PAYER", "").lower() == "requester")
    if kind == "s3" and pays.lower() == "true":
        raise AccessDeniedError(
            f"{bucket}: readers pay, and no credentials were found. Looked at: {places}. A request that its reader "
            "pays for is signed: give credentials of an AWS account, or take AWS_REQUEST_PAYER away for public buckets."
        )
    return places


def _has_local(kind: str) -> bool:
    """Whether the environment or a file has credentials, or says that there are none to use."""
    if any(os.environ.get(name, "").lower() in _TRUE for name in _UNSIGNED if _is_for(kind, name)):
        return True
    if any(value and _CHAINS[kind].variables.fullmatch(name) for name, value in os.environ.items()):
        return True
    if kind == "s3":
        return "key_id" in profile()
    return kind == "gs" and Path(_GCLOUD).expanduser().exists()


def _is_for(kind: str, variable: str) -> bool:
    return variable.startswith({"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}[kind])


def _metadata_service(kind: str) -> str | None:
    """Give the address of the service that a store would ask, by the variables that obstore reads, or None."""
    if kind == "s3":
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in _TRUE:
            return None
        return os.environ.get("AWS_METADATA_ENDPOINT", "http://169.254.169.254").rstrip("/")
    if kind == "gs":
        host = os.environ.get("GCE_METADATA_HOST") or os.environ.get("GCE_METADATA_ROOT") or "metadata.google.internal"
        return f"http://{host}"
    return _AZURE_METADATA


async def _has_role(kind: str, service: str) -> bool:
    if service in _with_role:
        return True
    if time.monotonic() < _without_role.get(service, 0.0):
        return False
    with contextlib.suppress(TimeoutError):
        if await asyncio.wait_for(asyncio.to_thread(_asked, kind, service), TOTAL_S):
            _with_role.add(service)
            return True
    _without_role[service] = time.monotonic() + NOTHING_S
    return False


def _asked(kind: str, service: str) -> bool:
    """Ask a metadata service whether this machine has a role or an account; what it gives is not kept."""
    try:
        if kind == "s3":
            token = _answer("PUT", f"{service}/latest/api/token", ("X-aws-ec2-metadata-token-ttl-seconds", "60"))
            url = f"{service}/latest/meta-data/iam/security-credentials/"
            return bool(_answer("GET", url, ("X-aws-ec2-metadata-token", token)))
        if kind == "gs":
            url = f"{service}/computeMetadata/v1/instance/service-accounts/default/email"
            return bool(_answer("GET", url, ("Metadata-Flavor", "Google")))
        query = "api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
        return bool(_answer("GET", f"{service}?{query}", ("Metadata", "true")))
    except (OSError, ValueError):
        # Nobody answers, or not as such a service does; an answer of 400 and above is an OSError too.
        return False


def _answer(method: str, url: str, header: tuple[str, str]) -> str:
    # These addresses are of this machine, and no proxy knows them.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=dict([header]), method=method)  # noqa: S310 - http alone
    with opener.open(request, timeout=METADATA_S) as answer:
        text: str = answer.read(65_536).decode("ascii")
    return text.strip()
