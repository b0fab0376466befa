"""Byte ranges of files in object stores, with obstore: `s3://`, `gs://`, `az://` and `abfs(s)://`.

Credentials, regions and endpoints come from the option `credentials`, by the longest prefix of the address, and else
from the environment variables that obstore reads (`AWS_*`, `GOOGLE_*`, `AZURE_*`). Two customary ones of other tools
are understood too: `AWS_NO_SIGN_REQUEST=YES` for public buckets and `AWS_REQUEST_PAYER=requester` for buckets whose
readers pay. Where there are no credentials at all, objects are read unsigned. A bucket that turns out to be in another
region is opened again there.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetChangedError,
    AssetNotFoundError,
    FetchError,
    InvalidArgumentError,
    RangeError,
    RasteretError,
    TransportError,
)
from rasteret_sql.io import credential_chain, fork
from rasteret_sql.io.asked import Asked, redact, safe_cause
from rasteret_sql.io.bucket_region import is_about_region, region_after
from rasteret_sql.io.buckets import open_bucket
from rasteret_sql.io.credentials import settings_for
from rasteret_sql.io.identity import OTHER_VERSION, UNKNOWN, FileIdentity
from rasteret_sql.io.object_process import ObjectProcess
from rasteret_sql.io.options import get_options
from rasteret_sql.io.store import RangeResponse
from rasteret_sql.io.threads import import_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore import GetOptions

    from rasteret_sql.io.credentials import Settings

    #: URL of a bucket or container, and its settings of the option `credentials`.
    _Bucket = tuple[str, Settings]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)/*(.*)", re.DOTALL)

#: Where obstore looks for credentials when there are none in the environment.
_METADATA_SERVICE = re.compile(r"https?://(?:169\.254\.|metadata\.google\.internal)")

#: As obstore's stores say it: S3, local and memory.
_OBJECT_SIZE = re.compile(r"<ActualObjectSize>(\d+)<|length: (\d+)|only (\d+) bytes")

_SPAWN = (
    'Start the processes by "spawn" or "forkserver" instead: multiprocessing.get_context("spawn"), or '
    'DataLoader(..., multiprocessing_context="spawn").'
)

#: True in a process whose obstore threads run; in a child that it forks, these threads are gone, and obstore
#: waits for them for ever, even in a store that is made anew. The child shares the epoll instance of the parent, too:
#: sockets that obstore (0.12.1) opens in the child by its synchronous functions crashed the parent. So the child reads
#: through another process.
_used_here = False
_used_before_fork = False


class ObjectStore:
    """Fetches ranges from object stores; one obstore store per bucket or container and its settings.

    Args:
        open_store: makes the obstore store of a URL such as `s3://bucket` with its settings; replaced in tests.
    """

    def __init__(self, *, open_store: Callable[[str, Settings], Any] = open_bucket) -> None:
        self._open_store, self._is_replaced = open_store, open_store is not open_bucket
        self._stores: dict[_Bucket, Any] = {}
        #: Of buckets without credentials: the places that were looked at.
        self._looked_at: dict[_Bucket, str] = {}
        self._regions: dict[_Bucket, str] = {}
        #: Held while a store is opened; it belongs to the event loop of its first use.
        self._opening: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def fetch(self, href: str, start: int, end: int, *, identity: FileIdentity = UNKNOWN) -> RangeResponse:
        """Fetch bytes `start` to `end` (exclusive); see `RangeStore.fetch`."""
        global _used_here  # noqa: PLW0603 - it says something of the process, not of a store
        asked = Asked(href, start, end, identity)
        url, key = _split(href)
        if _used_before_fork and not self._is_replaced:
            return await _process.get().fetch(asked)
        if _used_before_fork:
            raise RasteretError(
                f"{asked}: this process was forked from one that had read from object stores, and obstore "
                f"cannot work in such a process: it would wait for ever. {_SPAWN}"
            )
        await self.warm_up()
        _used_here = True
        bucket = url, settings_for(href, get_options().credentials)
        try:
            return await self._get_anywhere(asked, bucket, key)
        except RasteretError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever obstore raises is turned into one of ours
            mapped = _mapped(error, asked, self._looked_at.get(bucket))
            if isinstance(mapped, AccessDeniedError) and bucket in self._looked_at:
                # There may be credentials by the next read.
                self._stores.pop(bucket, None)
            raise mapped from safe_cause(error)

    async def warm_up(self) -> None:
        """Import obstore, so that the first fetch need not."""
        if not _used_before_fork:
            await import_in_thread("obstore", "obstore.exceptions", "obstore.store")

    async def aclose(self) -> None:
        """Forget the stores of the buckets; their connections end with them."""
        self._stores.clear()
        self._opening = None
        if _used_before_fork:
            await _process.get().aclose()

    async def _get_anywhere(self, asked: Asked, bucket: _Bucket, key: str) -> RangeResponse:
        """Get a range, in the region of the bucket where that is another one."""
        store = await self._store_of(bucket)
        try:
            return await self._get(asked, store, key)
        except Exception as error:
            if not is_about_region(error) or not await self._reopen(bucket, store, error):
                raise
        return await self._get(asked, await self._store_of(bucket), key)

    async def _get(self, asked: Asked, store: Any, key: str) -> RangeResponse:
        from obstore import get_async

        options: GetOptions = {"range": (asked.start, asked.end)}
        if asked.identity.if_match is not None:
            options["if_match"] = asked.identity.if_match
        result = await get_async(store, key, options=options)
        meta = result.meta
        found = FileIdentity(meta.get("e_tag"), meta["size"], meta["last_modified"].timestamp())
        asked.require_same(found)
        size = meta["size"]
        start, end = result.range
        if start != asked.start or end != min(asked.end, size):
            raise RangeError(
                f"{asked}: the store gave bytes {start}-{end - 1} of {size}; expected those asked for. "
                f"Use another mirror or a local copy."
            )
        data = bytes(await result.bytes_async())
        if len(data) != end - start:
            raise RangeError(
                f"{asked}: the store sent {len(data)} bytes; expected {end - start}. "
                f"Use another mirror or a local copy."
            )
        return RangeResponse(data=data, start=start, file_size=size, etag=found.etag, last_modified=found.modified_s)

    async def _store_of(self, bucket: _Bucket) -> Any:
        store = self._stores.get(bucket)
        if store is None:
            async with self._lock():
                store = self._stores.get(bucket)
                if store is None:
                    store = self._stores[bucket] = await self._opened(bucket)
        return store

    async def _opened(self, bucket: _Bucket) -> Any:
        url, settings = bucket
        self._looked_at.pop(bucket, None)
        # A replaced store needs no credentials.
        places = None if self._is_replaced else await credential_chain.find(url, settings)
        changes = {}
        if places is not None:
            self._looked_at[bucket] = places
            changes["anonymous"] = "true"
        if bucket in self._regions:
            changes["region"] = self._regions[bucket]
        return self._open_store(url, tuple(sorted((dict(settings) | changes).items())))

    async def _reopen(self, bucket: _Bucket, store: Any, error: Exception) -> bool:
        """Forget a store that is in another region than its bucket; False where nobody tells the region."""
        async with self._lock():
            # Another request may have done it.
            if self._stores.get(bucket) is store:
                region = await region_after(error, *bucket)
                if region is None or region == self._regions.get(bucket):
                    return False
                self._regions[bucket] = region
                del self._stores[bucket]
        return True

    def _lock(self) -> asyncio.Lock:
        here = asyncio.get_running_loop()
        if self._opening is None or self._opening[0] is not here:
            self._opening = here, asyncio.Lock()
        return self._opening[1]


def _split(href: str) -> tuple[str, str]:
    """Split a URL into the URL of its bucket and the key in it."""
    match = _URL.fullmatch(href)
    if match is None or not match[2] or not match[3]:
        raise InvalidArgumentError(
            f"{redact(href)}: this URL has no bucket or no key; expected scheme://bucket/key, for example "
            f"s3://sentinel-cogs/folder/file.tif."
        )
    scheme, bucket, key = match.groups()
    scheme = {"s3a": "s3", "azure": "az"}.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{bucket}", key


def _changed(asked: Asked) -> AssetChangedError:
    """Give the error for a refused If-Match; obstore does not tell the ETag that the file has now."""
    return asked.changed(
        f"the file has another ETag now; expected {asked.identity}, as it was when it was indexed. {OTHER_VERSION}"
    )


def _mapped(error: Exception, asked: Asked, looked_at: str | None = None) -> Exception:
    """Give an error of ours for one of obstore.

    Args:
        error: of obstore.
        asked: what was asked for.
        looked_at: places without credentials, if the request was unsigned for want of any.
    """
    from obstore import exceptions

    text = str(error).partition("\n")[0]
    if isinstance(error, exceptions.PreconditionError):
        return _changed(asked)
    if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
        return AssetNotFoundError(
            f"{asked}: there is no such object. Check bucket and key, or refresh or rebuild the index."
        )
    if isinstance(error, PermissionError | exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        if looked_at is None:
            return _denied(asked, "the store refused")
        return AccessDeniedError(
            f"{asked}: the store refused a request without a signature, and no credentials were found. Looked at: "
            f"{looked_at}. Give credentials (the option credentials, or for example AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY); if the bucket is public, check the key: some stores refuse what is not there."
        )
    if isinstance(error, exceptions.InvalidPathError | ValueError):
        return InvalidArgumentError(f"{asked}: the key is not valid. Check it for empty or '..' parts.")
    if isinstance(error, exceptions.UnknownConfigurationKeyError):
        return InvalidArgumentError(f"{asked}: {text}. Check the environment variables.")
    return _mapped_text(asked, text, str(error))


def _mapped_text(asked: Asked, text: str, debug: str) -> Exception:
    """Sort out errors for which obstore has no class of their own, by what they say."""
    # Without addresses, whose paths may hold any word.
    said = re.sub(r"https?://\S+", "", text)
    if "StartTooLarge" in debug or "Invalid range" in said or "status code: 416" in said:
        return _beyond_end(asked, debug)
    if _METADATA_SERVICE.search(text) or "credentials" in said:
        return _denied(asked, "no credentials were found")
    if "Account must be specified" in said:
        return InvalidArgumentError(
            f"{asked}: the storage account is not known; expected it in the URL "
            f"(abfss://container@account.dfs.core.windows.net/path) or in AZURE_STORAGE_ACCOUNT_NAME."
        )
    if "redirect" in said.lower():
        return TransportError(f"{asked}: the bucket is in another region. Set AWS_REGION to the one of the bucket.")
    shown = re.sub(r"\?\S*", "", text).rstrip(". ")
    return TransportError(f"{asked}: {shown}. Check the network, the endpoint and the region.")


def _beyond_end(asked: Asked, debug: str) -> FetchError:
    match = _OBJECT_SIZE.search(debug)
    size = None if match is None else next(group for group in match.groups() if group)
    try:
        asked.require_same(FileIdentity(asked.identity.etag, None if size is None else int(size)))
    except AssetChangedError as error:
        return error
    has = {None: "ends before this range", "0": "is empty (0 bytes)"}.get(size, f"has only {size} bytes")
    return RangeError(
        f"{asked}: the object {has}; expected bytes there. It was truncated or never written completely: "
        f"replace it, then refresh or rebuild the index."
    )


def _denied(asked: Asked, reason: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"{asked}: {reason}. Give credentials (the option credentials, or for example AWS_ACCESS_KEY_ID and "
        f"AWS_SECRET_ACCESS_KEY), read public buckets unsigned "
        f"(AWS_SKIP_SIGNATURE=true, GOOGLE_SKIP_SIGNATURE=true, AZURE_SKIP_SIGNATURE=true), "
        f"or accept the cost where readers pay (AWS_REQUEST_PAYER=requester)."
    )


def _reset_in_child() -> None:
    global _used_here, _used_before_fork  # noqa: PLW0603 - they say something of the process
    _used_before_fork = _used_before_fork or _used_here
    _used_here = False


_process = fork.PerProcess(ObjectProcess)
fork.on_fork(_reset_in_child)
