"""The settings of a process, in one table: `Options`. Environment, Python and the command line set the same ones."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.credentials import parsed, text_of, texts_of, without
from rasteret_sql.io.identity import IdentityRule, checked_rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

#: What the names of environment variables begin with: `RASTERET_SQL_IDENTITY`.
PREFIX: Final = "RASTERET_SQL_"


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a process.

    Attributes:
        identity: what a read compares between the index and the file: "etag" compares ETag, size and time of change,
            "size" the size alone, "none" nothing. With "size" or "none", a file that was rewritten may be read as
            garbage.
        allow: folders and prefixes of URLs that documents from the network may name, besides public addresses: an index
            or a STAC document on a server, an answer of an API, a redirect. "*" allows all. A text has commas between.
        credentials: prefixes of `https` URLs with what is added to requests for files there
            ("https://host/folder/?apikey=KEY", "https://host/?bearer_token=TOKEN", "https://USER:PASSWORD@host/"), and
            prefixes of objects with the settings of their store ("s3://bucket/folder/?key_id=ID&secret=SECRET"). A
            mapping of prefixes to settings is the same. An index never has keys, so reads need them here. A text has
            commas between.
        max_result_bytes: bytes of the largest result: pixels of arrays and of exported files. None is the memory of the
            machine for arrays that are read at once, and no limit for lazy arrays and files.
        connect_s: longest time to connect to a server, in seconds.
        silence_s: longest silence of a server while its answer is awaited or read, in seconds.
        min_bytes_per_s: lowest rate of an answer, checked once the answer has taken `silence_s`.
        attempts: largest number of attempts of a request. After answers 408, 429 and 5xx, broken connections, silence
            and slowness, the request is sent again. It waits for the time in Retry-After, 30 s at most.
        retry_s: seconds after the first attempt of a request. Later, no further attempt starts.
        hedge: whether a request over `http(s)` is sent a second time if it takes longer than 95 of 100 requests of
            this process did; the first answer is taken. It costs some requests in a hundred.
        max_documents: largest number of documents that are read of a STAC catalog. More are an error.
        compiled: whether the compiled kernels resample pixels, where they were built. Pixels are the same without.
        max_requests: requests that a read has in flight at most. None follows the machine: 50 per core, from 100 to
            1,000, and half of the files that the process may open at most.
        max_buffer_bytes: bytes of fetched and of decoded tiles that wait for the next step of a read; all reads of the
            process together hold twice as many. None follows the machine: 32 MiB per core and a thirty-second of the
            memory at most, but 64 MiB at least. Fewer bytes may make more requests.
        decode_threads: threads that decode and resample. None is one per core.
        header_cache: folder of the headers that reads without an index keep; "off" for none. None is
            `rasteret_sql/headers` in `XDG_CACHE_HOME` or `~/.cache`.
        header_cache_bytes: largest size of this folder. Beyond it, the headers that were not used for longest go.
    """

    identity: IdentityRule = "etag"
    allow: tuple[str, ...] = ()
    credentials: tuple[str, ...] = field(default=(), repr=False)
    max_result_bytes: int | None = None
    connect_s: float = 15.0
    silence_s: float = 30.0
    min_bytes_per_s: float = 1000.0
    attempts: int = 6
    retry_s: float = 90.0
    hedge: bool = False
    max_documents: int = 1_000_000
    compiled: bool = True
    max_requests: int | None = None
    max_buffer_bytes: int | None = None
    decode_threads: int | None = None
    header_cache: str | None = None
    header_cache_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        checked_rule(self.identity)
        for name, unit in (
            ("max_result_bytes", "byte"),
            ("max_buffer_bytes", "byte"),
            ("max_requests", "request"),
            ("decode_threads", "thread"),
        ):
            object.__setattr__(self, name, _checked_count(name, getattr(self, name), unit))
        if isinstance(self.credentials, Mapping):
            object.__setattr__(self, "credentials", texts_of(self.credentials))
        for name in ("allow", "credentials"):
            object.__setattr__(self, name, _checked_names(name, getattr(self, name)))
        parsed(self.credentials)
        for name in ("connect_s", "silence_s", "min_bytes_per_s", "retry_s"):
            object.__setattr__(self, name, _checked_number(name, getattr(self, name)))
        for name in ("hedge", "compiled"):
            object.__setattr__(self, name, _checked_flag(name, getattr(self, name)))
        object.__setattr__(self, "header_cache", _checked_folder("header_cache", self.header_cache))
        for name in ("attempts", "max_documents", "header_cache_bytes"):
            number = _checked_number(name, getattr(self, name))
            if not number.is_integer() or number < 1:
                raise InvalidArgumentError(f"{name}: got {number:g}, expected a whole number above 0")
            object.__setattr__(self, name, int(number))


class OptionsBlock:
    """What `set_options` gives: at the end of a `with` block, the options are what they were before."""

    def __init__(self, before: Options) -> None:
        self._before = before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _current[:] = [self._before]


_current: list[Options] = []
#: Options of one call, such as those that a session sets in SQL.
_of_call: ContextVar[Options | None] = ContextVar("rasteret_sql_options", default=None)


def get_options() -> Options:
    """Return the options of this process, from `set_options` or else from the environment.

    Raises:
        InvalidArgumentError: a variable of the environment has a value that its option cannot have.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.get_options().identity
        'etag'
    """
    of_call = _of_call.get()
    if of_call is not None:
        return of_call
    if not _current:
        try:
            _current.append(Options(**_of_environment()))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{PREFIX}* in the environment: {error}") from error
    return _current[0]


def set_options(**changes: Any) -> OptionsBlock:
    """Change options of this process, for a `with` block or for good.

    Threads share them. Workers have those of their environment: `RASTERET_SQL_IDENTITY`, for example. How files are
    compared is part of a plan, so workers compare as the process that planned.

    Args:
        **changes: attributes of `Options` and their values.

    Returns:
        A context manager: at its end, the options are what they were before.

    Raises:
        InvalidArgumentError: there is no such option, or it cannot have the value.

    Example:
        >>> import rasteret_sql as rs
        >>> with rs.set_options(identity="size"):
        ...     rs.get_options().identity
        'size'
    """
    before = get_options()
    _require_known(changes)
    _current[:] = [replace(before, **changes)]
    return OptionsBlock(before)


def credentials(prefix: str, /, **settings: Any) -> OptionsBlock:
    """Set the credentials of one prefix of addresses, for a `with` block or permanently; other prefixes keep theirs.

    Args:
        prefix: `s3://bucket/folder/`, `gs://bucket/`, `az://container/`, `hf://datasets/owner/` or
            `https://host/folder/`; `s3://` is for all buckets. The longest prefix of an address counts.
        **settings: for `s3://` key_id, secret, session_token, profile (of AWS's files), region, endpoint,
            requester_pays and anonymous; for `gs://` service_account (path of a file), endpoint and anonymous; for
            `az://` and `abfs://` account_name, account_key, sas_token, endpoint and anonymous; for `hf://` token and
            endpoint; for `https://` bearer_token, which is sent as the header Authorization, and parameters that are
            added to requests. Without any, the prefix has no credentials any more.

    Returns:
        A context manager: at its end, the options are what they were before.

    Raises:
        InvalidArgumentError: these are no settings of such a store.

    Example:
        >>> import rasteret_sql as rs
        >>> with rs.credentials("s3://usgs-landsat/", region="us-west-2", requester_pays=True):
        ...     pass
    """
    others = without(prefix, get_options().credentials)
    return set_options(credentials=(*others, text_of(prefix, settings)) if settings else others)


@contextmanager
def options_of_call(changes: Mapping[str, Any]) -> Iterator[None]:
    """Change options for what this thread does in a block.

    Raises:
        InvalidArgumentError: there is no such option, or it cannot have the value.
    """
    _require_known(changes)
    token = _of_call.set(replace(get_options(), **changes))
    try:
        yield
    finally:
        _of_call.reset(token)


def names() -> list[str]:
    """Give the names of all options."""
    return [each.name for each in fields(Options)]


def _require_known(changes: Mapping[str, Any]) -> None:
    unknown = [name for name in changes if name not in names()]
    if unknown:
        raise InvalidArgumentError(f"options: got {', '.join(unknown)}, expected some of {', '.join(names())}")


def _checked_names(option: str, value: Any) -> tuple[str, ...]:
    """Give names as a tuple; a text has commas between them.

    Raises:
        InvalidArgumentError: these are no texts.
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, (str, os.PathLike)) for part in value):
        raise InvalidArgumentError(f"{option}: got {type(value).__name__}, expected a list of texts")
    return tuple(os.fspath(part) for part in value if part)


def _checked_flag(option: str, value: Any) -> bool:
    """Give a truth value, which may be a text.

    Raises:
        InvalidArgumentError: it is none.
    """
    text = str(value).lower() if isinstance(value, (str, int)) else ""
    flag = {"true": True, "1": True, "false": False, "0": False}.get(text)
    if flag is None:
        raise InvalidArgumentError(f"{option}: got {shown(value)}, expected true or false")
    return flag


def _checked_count(option: str, value: Any, unit: str) -> int | None:
    """Give a number of things, which may be a text; None stays.

    Raises:
        InvalidArgumentError: it is none, or not above 0.
    """
    try:
        count = None if value is None else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(
            f"{option}: got {shown(value)}, expected a whole number of {unit}s, or None"
        ) from error
    if count is not None and count < 1:
        raise InvalidArgumentError(f"{option}: got {shown(value)}, expected 1 {unit} or more, or None")
    return count


def _checked_folder(option: str, value: Any) -> str | None:
    """Give the path of a folder as a text; None stays.

    Raises:
        InvalidArgumentError: it is none.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if text is None or (isinstance(text, str) and text and "\0" not in text):
        return text
    raise InvalidArgumentError(f"{option}: got {shown(value)}, expected the path of a folder, or 'off'")


def _checked_number(option: str, value: Any) -> float:
    """Give a number, also of a text.

    Raises:
        InvalidArgumentError: it is none, or below 0.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise InvalidArgumentError(f"{option}: got {shown(value)}, expected a number of at least 0")
    return number


def _of_environment() -> dict[str, Any]:
    found = {name: os.environ.get(f"{PREFIX}{name.upper()}") for name in names()}
    return {name: text for name, text in found.items() if text}
