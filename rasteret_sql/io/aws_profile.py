"""Keys of AWS's files of profiles (`~/.aws/credentials`, `~/.aws/config`), which obstore does not read."""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Final

from rasteret_sql.errors import InvalidArgumentError

_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key")
#: Settings of a profile by obstore's name, and the variables that say the same.
_SETTINGS: Final = {
    "region": ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "endpoint_url": ("endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")),
}


def profile(wanted: str | None = None) -> dict[str, str]:
    """Give the keys and settings of a profile.

    Args:
        wanted: its name, which a caller gave for a bucket; None takes the one in AWS_PROFILE, or else `default`.

    Returns:
        `key_id`, `secret` and `session_token`, `region` and `endpoint`. Without `wanted`, variables come first: nothing
        is returned where they have keys, and no region or endpoint where they say it. `default` may have no keys.

    Raises:
        InvalidArgumentError: there is no profile of this name, or it has no keys; or a file is broken.
    """
    named = wanted or os.environ.get("AWS_PROFILE") or None
    # The order is that of AWS's own tools.
    has_keys = os.environ.get("AWS_ACCESS_KEY_ID") or (os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and not named)
    if has_keys and wanted is None:
        return {}
    name = named or "default"
    # The file of credentials says more than that of settings.
    config = _section("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}")
    found = config | _section("AWS_SHARED_CREDENTIALS_FILE", "credentials", name)
    if any(key not in found for key in _KEYS):
        if named is None:
            return {}
        got = f"a profile with {', '.join(sorted(found))}" if found else "no such profile"
        raise InvalidArgumentError(
            f"{'profile' if wanted else 'AWS_PROFILE'}: got {name!r}, {got} in ~/.aws, expected one with "
            f"{' and '.join(_KEYS)}. Roles, single "
            "sign-on and commands are AWS's own: let them give keys, with "
            f'eval "$(aws configure export-credentials --profile {name} --format env)"'
        )
    keys = {"key_id": found[_KEYS[0]], "secret": found[_KEYS[1]]}
    if "aws_session_token" in found:
        keys["session_token"] = found["aws_session_token"]
    for setting, (ours, variables) in _SETTINGS.items():
        if setting in found and (wanted or not any(map(os.environ.get, variables))):
            keys[ours] = found[setting]
    return keys


def _section(variable: str, file: str, name: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or Path("~/.aws") / file).expanduser()
    # Values may hold "%".
    parser = ConfigParser(interpolation=None, default_section="")
    try:
        parser.read(path)
    except (Error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"{path}: got a file that cannot be read in line {getattr(error, 'lineno', '?')}, expected profiles of AWS"
        ) from None
    return dict(parser[name]) if name in parser else {}
