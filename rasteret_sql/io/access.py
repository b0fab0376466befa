"""What a process that serves others may read: folders, URLs and addresses; everything where nothing is restricted.

DuckDB has settings of its own for the files that it opens. This is their counterpart for what is read past it: TIFF
files, STAC documents and APIs. The policy is one of the process, since stores and their event loop are.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import posixpath
import re
import socket
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.io.asked import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GLOB = re.compile(r"[*?\[]")
_PORTS = {"http": 80, "https": 443}
#: A part of an IPv4 address as C libraries take it: "127.1", "2130706433" and "0x7f.0.0.01" are addresses for them.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Of these the last 32 bits are an IPv4 address: IPv4-compatible ones and NAT64, RFC 4291 and 6052.
_HOLD_IPV4 = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))

#: Scheme, host, port and path of a URL; the path begins with a slash and ends with one where it is a folder.
_Parts = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What may be read.

    Attributes:
        folders: whose files may be; links inside them that lead out of them may not.
        urls: prefixes of URLs that may be, whatever their address: `http(s)://host/folder/`, `s3://bucket/`.
        public: whether `http(s)` URLs of public addresses may be, too. Private, loopback and link-local addresses
            never are, unless a prefix names their host.
        query_check: name of a scalar macro (session, query) that says whether the text of a query may run, or None.
        remedy: how a message says that more can be allowed.
    """

    folders: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    public: bool = True
    query_check: str | None = None
    remedy: str = "Ask whoever runs this process."

    def __post_init__(self) -> None:
        object.__setattr__(self, "folders", tuple(os.path.realpath(Path(name).expanduser()) for name in self.folders))
        for url in self.urls:
            _parts(url)

    def allows_path(self, path: str) -> bool:
        """Whether a path, which may not exist, lies in one of the folders once all links are followed."""
        real = os.path.realpath(path)
        return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in self.folders)

    def allows_url(self, url: str) -> bool:
        """Whether a URL has one of the prefixes."""
        scheme, host, port, path = _parts(url)
        return any(
            (scheme, host, port) == prefix[:3] and (path + "/").startswith(prefix[3].rstrip("/") + "/")
            for prefix in map(_parts, self.urls)
        )

    def hosts(self) -> frozenset[tuple[str, int]]:
        """Give hosts and ports of the prefixes, and of the proxies of the environment."""
        from urllib.request import getproxies

        proxies = [url for name, url in getproxies().items() if name in _PORTS]
        found = [_parts(url if "://" in url else f"http://{url}") for url in [*self.urls, *proxies]]
        return frozenset((host, port) for scheme, host, port, _ in found if scheme in _PORTS)


_policy: AccessPolicy | None = None
_hosts: frozenset[tuple[str, int]] = frozenset()
_addresses: frozenset[tuple[str, int]] = frozenset()


def restrict(policy: AccessPolicy | None) -> None:
    """Let this process read what a policy allows, and nothing else; None takes it back.

    Connections that are open already stay, so call it before anything is read.
    """
    global _policy, _hosts, _addresses  # noqa: PLW0603 - a policy of the process
    _hosts = frozenset() if policy is None else policy.hosts()
    _addresses = frozenset((address, port) for host, port in _hosts for address in _resolved(host, port))
    _policy = policy


def policy() -> AccessPolicy | None:
    """Give what restricts this process, or None."""
    return _policy


def real_path(path: str) -> str:
    """Give the path to open for one that was named: itself, or without links where a policy has looked at it.

    Raises:
        AccessDeniedError: the policy does not allow it; the message does not tell whether there is such a file.
    """
    if _policy is None:
        return path
    if "\0" in path or not _policy.allows_path(path):
        raise AccessDeniedError(
            f"{path}: outside of the folders that this process lets its clients read "
            f"({', '.join(_policy.folders) or 'none'}); expected a file in one of them. {_policy.remedy}"
        )
    return os.path.realpath(path)


def check_pattern(pattern: str) -> None:
    """See to it that a glob looks into allowed folders only.

    Raises:
        AccessDeniedError: it does not.
    """
    if _policy is None:
        return
    found = _GLOB.search(pattern)
    base = pattern if found is None else os.path.dirname(pattern[: found.start()]) or "."  # noqa: PTH120 - a glob
    if found is not None and ".." in pattern[found.start() :].split("/"):
        raise AccessDeniedError(f"{pattern}: got '..' behind a wildcard, expected a glob without. Name the folder.")
    real_path(base)


def kept_paths(paths: Sequence[str]) -> list[str]:
    """Give those of the paths that a glob found which the policy allows: links may lead out of a folder."""
    return [path for path in paths if _policy is None or _policy.allows_path(path)]


def check_url(url: str, *, resolve: bool = False) -> None:
    """See to it that a URL may be read.

    Args:
        url: of any scheme that a store reads.
        resolve: whether to look up its host too, for clients whose connections `check_address` does not see.

    Raises:
        AccessDeniedError: it may not.
    """
    if _policy is None or _policy.allows_url(url):
        return
    scheme, host, port, _ = _parts(url)
    if scheme not in _PORTS or not _policy.public:
        what = "URLs" if _policy.public else "addresses"
        raise AccessDeniedError(
            f"{redact(url)}: none of the {what} that this process lets its clients read "
            f"({', '.join(map(redact, _policy.urls)) or 'none listed'}); expected one of them. {_policy.remedy}"
        )
    literal = _literal(host)
    # A listed host may be asked for what its prefix names only, even by a name that leads inside.
    if literal is None and (resolve or (host, port) in _hosts):
        is_private = any(not _is_public(address) for address in _resolved(host, port))
    else:
        is_private = host == "localhost" if literal is None else not _is_public(literal)
    if is_private:
        raise _private(redact(url))


def check_resolved(host: str, port: int, addresses: Iterable[str]) -> None:
    """See to it that a name which was looked up may be asked: another name of a listed host is not a listed one.

    Raises:
        AccessDeniedError: it may not.
    """
    if _policy is None or (host.rstrip(".").lower(), port) in _hosts:
        return
    if any(not _is_public(address) for address in addresses):
        raise _private(f"{host}:{port}")


def check_address(address: str, port: int) -> None:
    """See to it that a connection may be made: this also holds for redirects, and for names that lead inside.

    Raises:
        AccessDeniedError: it may not.
    """
    if _policy is None or (address, port) in _addresses:
        return
    if not _policy.public or not _is_public(address):
        raise _private(f"{address}:{port}")


def _private(what: str) -> AccessDeniedError:
    remedy = "" if _policy is None else f" {_policy.remedy}"
    return AccessDeniedError(
        f"{what}: a private, loopback or link-local address, or none that is listed, which this process does not "
        f"let its clients read; expected a public one.{remedy}"
    )


def _literal(host: str) -> str | None:
    """The address that a host is written as, "" where it is a wrong one, or None for a name."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host.partition("%")[0]))
    # Libraries that look names up take wide digits and dots for plain ones.
    plain = unicodedata.normalize("NFKC", host).replace("\u3002", ".")
    if not all(map(_NUMBER.fullmatch, plain.split("."))):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(plain))
    except OSError:
        return ""


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _HOLD_IPV4):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is None and found not in _UNICAST:
            return False
        found = inner or found
    return found.is_global and not found.is_multicast


def _resolved(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        # Whoever connects says what is wrong.
        return []


def _parts(url: str) -> _Parts:
    try:
        split = urlsplit(url)
        scheme, host, port = split.scheme.lower(), (split.hostname or "").rstrip("."), split.port
    except ValueError as error:
        raise InvalidArgumentError(f"{redact(url)}: this is not a valid URL. Check host, port and escapes.") from error
    if not scheme or not host or "\\" in url:
        raise InvalidArgumentError(f"{redact(url)}: this is not a valid URL; expected scheme://host/path.")
    path = split.path
    # Servers may take an escaped dot for a dot, and an escape of an escape for one.
    while (plain := unquote(path)) != path:
        path = plain
    return scheme, host, port or _PORTS.get(scheme, 0), posixpath.normpath("/" + path.lstrip("/"))
