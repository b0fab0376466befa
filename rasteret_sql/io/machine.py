"""What reads take of this machine, or of the container that the process runs in: threads, requests, bytes in flight."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from rasteret_sql.io.options import get_options

#: Where Linux tells a container of its limits (cgroup v2).
_CGROUP: Final = Path("/sys/fs/cgroup")
#: Requests in flight: a core of a cloud machine comes with some 0.5 to 1 Gb/s of network, and a line of 0.5 Gb/s
#: at 100 ms holds 50 requests of 128 KiB.
_REQUESTS_PER_CORE: Final = 50
_MIN_REQUESTS: Final = 100
#: More connections than this to one host are taken for an attack by some servers.
_MAX_REQUESTS: Final = 1_000
#: Half a core's share of a second of tiles, so that neither the network nor the decoders wait for each other.
_BUFFER_BYTES_PER_CORE: Final = 32 << 20
_MIN_BUFFER_BYTES: Final = 64 << 20
#: A read may take this part of the memory, beside its result.
_BUFFER_PART_OF_MEMORY: Final = 32


def max_requests() -> int:
    """Give the requests that a read may have in flight: the option `max_requests`, or what fits the machine."""
    given = get_options().max_requests
    if given is not None:
        return given
    wanted = min(max(_REQUESTS_PER_CORE * cores(), _MIN_REQUESTS), _MAX_REQUESTS)
    files = _open_files()
    # The other half is for the files of the caller, of DuckDB, and of local reads.
    return wanted if files is None else max(min(wanted, files // 2), 1)


def max_buffer_bytes() -> int:
    """Give the bytes that may wait in a read: the option `max_buffer_bytes`, or what fits the machine."""
    given = get_options().max_buffer_bytes
    if given is not None:
        return given
    wanted, memory = _BUFFER_BYTES_PER_CORE * cores(), memory_bytes()
    return max(wanted if memory is None else min(wanted, memory // _BUFFER_PART_OF_MEMORY), _MIN_BUFFER_BYTES)


def decode_threads() -> int:
    """Give how many threads decode and resample: the option `decode_threads`, or one per core."""
    # More threads than cores gained nothing; one alone halved the throughput.
    return get_options().decode_threads or cores()


def cores() -> int:
    """Give the cores that this process may use."""
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container_limit("cpu.max")
    # A quota of 1.5 cores keeps two threads busy.
    return present if quota is None else max(min(present, -(-quota[0] // quota[1])), 1)


def memory_bytes() -> int | None:
    """Give the bytes of memory of this machine or container; None where the system does not say."""
    try:
        present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    limit = _container_limit("memory.max")
    return present if limit is None else min(present, limit[0])


@cache
def _container_limit(name: str) -> tuple[int, ...] | None:
    """Read the numbers of a limit of this container; None where it has none."""
    try:
        return tuple(map(int, (_CGROUP / name).read_text(encoding="ascii").split())) or None
    except (OSError, ValueError):
        # "max" is no number.
        return None


def _open_files() -> int | None:
    """Give how many files and connections this process may have open; None where there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit
