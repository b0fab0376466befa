"""What may be read: folders, URLs and addresses. One policy says so for a server, and for documents of strangers.

A process that serves others restricts all that it reads, by `restrict`. DuckDB has settings of its own for the files
that it opens; this is their counterpart for TIFF files, STAC documents and APIs.

In any other process the policy is one of documents. What comes over the network (an index, a STAC document, an answer
of an API, a redirect) names public addresses and its own server only. What lies on this machine, or is passed from
Python or SQL, names what it likes, besides link-local addresses. The option `allow` opens more.
"""

from __future__ import annotations

import contextlib
import functools
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
from rasteret_sql.io.options import get_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GLOB = re.compile(r"[*?\[]")
_PORTS = {"http": 80, "https": 443}
#: A part of an IPv4 address as C libraries take it: "127.1", "2130706433" and "0x7f.0.0.01" are addresses for them.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Of these the last 32 bits are an IPv4 address: IPv4-compatible ones and NAT64, RFC 4291 and 6052.
_HOLD_IPV4 = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))

#: Of these clouds use some for the credentials of a machine, as they use 169.254.169.254.
_METADATA = ipaddress.IPv6Network("fd00:ec2::/32")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")

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
        reader: how a message goes on after "what": who may read what.
    """

    folders: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    public: bool = True
    query_check: str | None = None
    remedy: str = "Ask whoever runs this process."
    reader: str = "this process lets its clients read"

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
#: Hosts that documents of strangers named: connections to them are made to public addresses only.
_strange: set[tuple[str, int]] = set()


def restrict(policy: AccessPolicy | None) -> None:
    """Let this process read what a policy allows, and nothing else; None takes it back.

    Connections that are open already stay, so call it before anything is read.
    """
    global _policy  # noqa: PLW0603 - a policy of the process
    _hosts_of.cache_clear()
    _addresses_of.cache_clear()
    if policy is not None:
        _addresses_of(policy)
    _policy = policy


def policy() -> AccessPolicy | None:
    """Give what restricts this process, or None."""
    return _policy


def real_path(path: str) -> str:
    """Give the path to open for one that was named: itself, or without links where a policy has looked at it.

    Raises:
        AccessDeniedError: the policy does not allow it; the message does not tell whether there is such a file.
    """
    return path if _policy is None else _real_path(_policy, path)


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
    """See to it that this process may read a URL.

    Args:
        url: of any scheme that a store reads.
        resolve: whether to look up its host too, for clients whose connections `check_address` does not see.

    Raises:
        AccessDeniedError: it may not.
    """
    found = policy_of_connections(is_strange=_policy is None and is_strange(url))
    if found is not None:
        _check_url(found, url, resolve=resolve)


def check_named(href: str, by: str | Iterable[str] | None, *, resolve: bool = False) -> None:
    """See to it that a document may name a file or another document.

    Args:
        href: path or URL, absolute.
        by: path or URL of the document, or several that it may be of; None for an object in memory.
        resolve: whether to look up its host too.

    Raises:
        AccessDeniedError: it may not; see the head of this module.
    """
    origins = [by] if isinstance(by, str) else list(by or ())
    remote = tuple(sorted({_root_of(origin) for origin in origins if _is_remote(origin)}))
    if _policy is not None or not remote:
        # Stores look at what they read where the process is restricted.
        return
    strangers = _strangers(remote, get_options().allow)
    if strangers is None:
        return
    if not _is_remote(href):
        path = unquote(urlsplit(href).path) if href.lower().startswith("file:") else href
        _real_path(strangers, os.path.expanduser(path))  # noqa: PTH111 - as stores do
        return
    scheme, host, port, _ = _parts(href)
    if scheme in _PORTS and not strangers.allows_url(href):
        _check_url(strangers, href, resolve=resolve)
        _strange.add((host, port))


def check_redirect(url: str, target: str) -> None:
    """See to it that a server may redirect to another URL; its host is looked up.

    Args:
        url: what was asked for.
        target: where it leads, absolute.

    Raises:
        AccessDeniedError: it may not.
    """
    if _policy is not None:
        check_url(target, resolve=True)
    elif _root_of(url) != _root_of(target):
        check_named(target, url, resolve=True)


def is_strange(url: str) -> bool:
    """Whether a document of a stranger named the host of a URL."""
    return bool(_strange) and _host_of(url) in _strange


def policy_of_connections(*, is_strange: bool) -> AccessPolicy | None:
    """Give the policy by which connections are made: that of the process, or of hosts that strangers named."""
    return _policy if _policy is not None or not is_strange else _strangers((), get_options().allow)


def check_resolved(policy: AccessPolicy | None, host: str, port: int, addresses: Iterable[str]) -> None:
    """See to it that a name which was looked up may be asked: another name of a listed host is not a listed one.

    Raises:
        AccessDeniedError: it may not.
    """
    if policy is None or (host.rstrip(".").lower(), port) in _hosts_of(policy):
        return
    if any(not _is_public(address) for address in addresses):
        raise _private(policy, f"{host}:{port}")


def check_address(policy: AccessPolicy | None, address: str, port: int) -> None:
    """See to it that a connection may be made: this also holds for redirects, and for names that lead inside.

    Without a policy link-local addresses are refused alone: there clouds keep the credentials of a machine.

    Raises:
        AccessDeniedError: it may not.
    """
    if policy is None:
        opened = _strangers((), get_options().allow)
        if _is_link_local(address) and opened is not None and (address, port) not in _addresses_of(opened):
            raise _private(opened, f"{address}:{port}")
    elif (address, port) not in _addresses_of(policy) and not (policy.public and _is_public(address)):
        raise _private(policy, f"{address}:{port}")


@functools.lru_cache(maxsize=256)
def _strangers(origins: tuple[str, ...], allow: tuple[str, ...]) -> AccessPolicy | None:
    """Give the policy of what documents of some servers name; None where all is allowed."""
    if "*" in allow:
        return None
    urls = [name if name.endswith("/") else f"{name}/" for name in allow if "://" in name]
    return AccessPolicy(
        folders=tuple(name for name in allow if "://" not in name),
        urls=(*urls, *origins),
        remedy='If you trust it, allow it: set_options(allow=["..."]), --option allow=..., or RASTERET_SQL_ALLOW.',
        reader="a document from the network may name",
    )


def _is_remote(href: str) -> bool:
    return _SCHEME.match(href) is not None and not href.lower().startswith("file:")


@functools.lru_cache(maxsize=1024)
def _host_of(url: str) -> tuple[str, int]:
    return _parts(url)[1:3]


@functools.lru_cache(maxsize=1024)
def _root_of(url: str) -> str:
    scheme, host, port, _ = _parts(url)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}/" if port else f"{scheme}://{name}/"


@functools.lru_cache(maxsize=256)
def _hosts_of(policy: AccessPolicy) -> frozenset[tuple[str, int]]:
    return policy.hosts()


@functools.lru_cache(maxsize=256)
def _addresses_of(policy: AccessPolicy) -> frozenset[tuple[str, int]]:
    return frozenset((address, port) for host, port in _hosts_of(policy) for address in _resolved(host, port))


def _real_path(policy: AccessPolicy, path: str) -> str:
    if "\0" in path or not policy.allows_path(path):
        raise AccessDeniedError(
            f"{path}: outside of the folders that {policy.reader} "
            f"({', '.join(policy.folders) or 'none'}); expected a file in one of them. {policy.remedy}"
        )
    return os.path.realpath(path)


def _check_url(policy: AccessPolicy, url: str, *, resolve: bool) -> None:
    if policy.allows_url(url):
        return
    scheme, host, port, _ = _parts(url)
    if scheme not in _PORTS or not policy.public:
        what = "URLs" if policy.public else "addresses"
        raise AccessDeniedError(
            f"{redact(url)}: none of the {what} that {policy.reader} "
            f"({', '.join(map(redact, policy.urls)) or 'none listed'}); expected one of them. {policy.remedy}"
        )
    literal = _literal(host)
    # A listed host may be asked for what its prefix names only, even by a name that leads inside.
    if literal is None and (resolve or (host, port) in _hosts_of(policy)):
        is_private = any(not _is_public(address) for address in _resolved(host, port))
    else:
        is_private = _is_localhost(host) if literal is None else not _is_public(literal)
    if is_private:
        raise _private(policy, redact(url))


def _private(policy: AccessPolicy, what: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"{what}: a private, loopback or link-local address, or none of those that {policy.reader}; expected a public "
        f"one. {policy.remedy}"
    )


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_link_local(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_link_local or found in _METADATA


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
