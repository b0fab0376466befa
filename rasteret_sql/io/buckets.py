"""obstore's stores of buckets and containers: settings of the environment, and those of the option `credentials`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.io.aws_profile import profile
from rasteret_sql.io.options import Options, get_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rasteret_sql.io.credentials import Settings

_S3: Final = frozenset({"s3", "s3a"})
_TRUE: Final = frozenset({"1", "on", "true", "yes"})

#: Bound of one request; obstore's default is 30 s for a whole answer, too short for large ranges over slow lines.
REQUEST_TIMEOUT_S: Final = 300
#: obstore does not tell what Retry-After asks for. Delays of one second, doubled up to 15, outlast the usual answers.
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 15.0

#: obstore's names of settings that are passed on as they are.
_CONFIG: Final = {
    "account_key": "account_key",
    "account_name": "account_name",
    "sas_token": "sas_key",
    "region": "region",
    "service_account": "service_account",
}


def open_bucket(url: str, settings: Settings = ()) -> Any:
    """Make the obstore store of a bucket or container, for example `s3://sentinel-cogs`.

    Args:
        url: the bucket, without a key.
        settings: of the option `credentials`; the environment says what they do not.
    """
    from obstore.store import from_url

    given = dict(settings)
    family = url.partition("://")[0].lower()
    config: dict[str, Any] = dict(_of_environment(family))
    is_signed = not config.get("skip_signature") and os.environ.get("AWS_SKIP_SIGNATURE", "").lower() not in _TRUE
    wanted = given.get("profile")
    if family in _S3 and (wanted or (is_signed and "anonymous" not in given and not _has_keys(given))):
        given = profile(wanted) | given
    config |= {_CONFIG[name]: value for name, value in given.items() if name in _CONFIG}
    more: dict[str, Any] = {}
    if "secret" in given:
        # Keys as obstore's configuration would be joined with a session token of the environment.
        more["credential_provider"] = _Keys(given["key_id"], given["secret"], given.get("session_token"))
    if "anonymous" in given or _has_keys(given):
        config["skip_signature"] = given.get("anonymous") == "true"
    if "requester_pays" in given:
        config["request_payer"] = given["requester_pays"] == "true"
    if "endpoint" in given:
        config["base_url" if family == "gs" else "endpoint"] = given["endpoint"]
    options = get_options()
    client_options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=options.connect_s),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    endpoint = str(config.get("endpoint", config.get("base_url", "")))
    if endpoint.lower().startswith("http://") or _is_plain_http_endpoint():
        client_options["allow_http"] = True
    # Its overloads do not admit a configuration that is put together.
    make: Callable[..., Any] = from_url
    return make(url, config=config or None, client_options=client_options, retry_config=_retries(options), **more)


class _Keys:
    """Gives obstore the keys of one bucket; its text does not show them."""

    def __init__(self, key_id: str, secret: str, session_token: str | None) -> None:
        self._keys = {
            "access_key_id": key_id,
            "secret_access_key": secret,
            "token": session_token,
            "expires_at": None,
        }

    def __call__(self) -> dict[str, str | None]:
        return self._keys


def _has_keys(given: dict[str, str]) -> bool:
    return not {"secret", "account_key", "sas_token", "service_account"}.isdisjoint(given)


def _of_environment(family: str) -> Iterator[tuple[str, Any]]:
    """Give settings that the customary variables of other tools name, and obstore does not read."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if family == "gs" and emulator:
        yield "base_url", emulator if "://" in emulator else f"http://{emulator}"
        yield "skip_signature", True
    if family not in _S3:
        return
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in _TRUE:
        yield "skip_signature", True
    if os.environ.get("AWS_REQUEST_PAYER", "").lower() == "requester":
        yield "request_payer", True


def _is_plain_http_endpoint() -> bool:
    """True where the environment names an endpoint without TLS, such as a local MinIO."""
    names = (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL_S3",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_ENDPOINT",
    )
    return any(os.environ.get(name, "").lower().startswith("http://") for name in names)


def _retries(options: Options) -> dict[str, Any]:
    return {
        "max_retries": options.attempts - 1,
        "retry_timeout": timedelta(seconds=options.retry_s),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_DELAY_S),
            "max_backoff": timedelta(seconds=MAX_DELAY_S),
            "base": 2,
        },
    }
