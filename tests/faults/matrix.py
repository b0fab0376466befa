"""Faults of servers, at several rates, over HTTP and S3, against every door of reads and builds.

A cell is right where all pixels are those of a server without faults, or where an error of ours comes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rasteret_sql as rs
from rasteret_sql import errors
from rasteret_sql.errors import RasteretError
from rasteret_sql.io import buckets, loop, stores
from rasteret_sql.io.http import HttpStore
from rasteret_sql.io.retry import RetryPolicy
from rasteret_sql.testing import Fault, RangeServer, write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAULTS: Final = {
    "400": Fault("status", status=400),
    "401": Fault("status", status=401),
    "403": Fault("status", status=403),
    "404": Fault("status", status=404),
    "408": Fault("status", status=408),
    "416": Fault("status", status=416),
    "429, Retry-After: 0": Fault("status", status=429, value="0"),
    "500": Fault("status", status=500),
    "502": Fault("status", status=502),
    "503": Fault("status", status=503),
    "504": Fault("status", status=504),
    "redirect to nothing": Fault("redirect", value="/nothing.tif"),
    "closed without an answer": Fault("close"),
    "reset before the body": Fault("reset", count=0),
    "reset in the body": Fault("reset", count=700),
    "ended in the body": Fault("truncate", count=700),
    "silent without an answer": Fault("hang"),
    "silent in the body": Fault("hang", count=700),
    "slow, but above the lowest rate": Fault("drip", count=2000, delay_s=0.01),
    "slower than the lowest rate": Fault("drip", count=2, delay_s=0.05),
    "200 and the whole file": Fault("ignore_range"),
    "another range": Fault("other_range", count=16),
    "no Content-Range": Fault("content_range"),
    "wrong Content-Range": Fault("content_range", value="bytes 5-10/100"),
    "body shorter than its range": Fault("short", count=10),
    "compressed": Fault("gzip"),
    "another ETag": Fault("etag", value='"another"'),
    "no ETag": Fault("etag"),
}
RATES: Final = (0.01, 0.1, 0.5)
SCHEMES: Final = ("http", "s3")
_ITEMS: Final = 16
#: More than any cell sends.
_REQUESTS: Final = 2000
#: Of ours in the text of an error of DuckDB.
_NAMED: Final = re.compile(r"\b(\w+Error): ")
#: Columns of a row of the index that do not tell when and from where it was read.
_ROW: Final = ("item_id", "dtype", "crs", "transform", "compression", "levels", "file_size")


@dataclass
class Lab:
    """A server of some files, an index of them per scheme, and what each door gives without faults."""

    server: RangeServer
    folder: Path
    indexes: dict[str, Path]
    expected: dict[tuple[str, str], Any] = field(default_factory=dict)

    def outcome(self, fault: str, scheme: str, door: str, rate: float, seed: int) -> str:
        """Run one cell: "ok", or the names of the errors.

        Raises:
            AssertionError: pixels are wrong, or an error is not one of ours.
        """
        if (scheme, door) not in self.expected:
            self.expected[scheme, door] = DOORS[door](self, scheme)
        draw = random.Random(f"{seed} {fault} {scheme} {door} {rate}")
        self._script([FAULTS[fault] if draw.random() < rate else None for _ in range(_REQUESTS)])
        try:
            found = DOORS[door](self, scheme)
        except RasteretError as error:
            return type(error).__name__
        except duckdb.Error as error:
            names = [name for name in _NAMED.findall(str(error)) if hasattr(errors, name)]
            if not names:
                raise AssertionError(f"{fault}, {scheme}, {door}, {rate}: an error, but none of ours") from error
            return str(names[-1])
        finally:
            self._script([])
        where = f"{fault}, {scheme}, {door}, {rate}: wrong"
        if isinstance(found, Failures):
            return ", ".join(sorted(found))
        if isinstance(found, np.ndarray):
            np.testing.assert_array_equal(found, self.expected[scheme, door], err_msg=where)
        else:
            assert found == self.expected[scheme, door], where
        return "ok"

    def _script(self, faults: list[Fault | None]) -> None:
        self.server._backend._serving.faults.clear()
        self.server.add_faults("*", *faults)


class Failures(frozenset[str]):
    """Names of the errors in the report of a build."""


def _sql(lab: Lab, scheme: str) -> Any:
    with rs.connect() as con:
        query = "SELECT item_id, tile_row, tile_col, pixels FROM read_tiles($1) ORDER BY ALL"
        return con.execute(query, [str(lab.indexes[scheme])]).fetchall()


def _numpy(lab: Lab, scheme: str) -> Any:
    return rs.to_numpy(lab.indexes[scheme]).data


def _xarray(lab: Lab, scheme: str) -> Any:
    return rs.to_xarray(lab.indexes[scheme]).to_array().values


def _dask(lab: Lab, scheme: str) -> Any:
    lazy = rs.to_xarray(lab.indexes[scheme], chunks={"time": 4})
    return lazy.to_array().compute(scheduler="threads", num_workers=2).values


def _torchgeo(lab: Lab, scheme: str) -> Any:
    dataset = rs.to_torchgeo(lab.indexes[scheme])
    return dataset[dataset.bounds]["image"].numpy()


def _build(lab: Lab, scheme: str) -> Any:
    path = lab.folder / "built.parquet"
    path.unlink(missing_ok=True)
    hrefs = pyarrow.parquet.read_table(lab.indexes[scheme], columns=["href", "item_id"])
    report = rs.build_index(hrefs, path)
    if report.failures:
        return Failures(each.error for each in report.failures)
    return pyarrow.parquet.read_table(path).select(_ROW).sort_by("item_id").to_pylist()


DOORS: Final[dict[str, Callable[[Lab, str], Any]]] = {
    "SQL": _sql,
    "to_numpy": _numpy,
    "to_xarray": _xarray,
    "Dask": _dask,
    "to_torchgeo": _torchgeo,
    "build": _build,
}


def doors() -> list[str]:
    """Give the doors that can be tried here; TorchGeo may not be installed."""
    return [door for door in DOORS if door != "to_torchgeo" or importlib.util.find_spec("torchgeo") is not None]


@contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """Serve some files; retries wait for milliseconds, and silence ends after one."""
    (folder / "files" / "b").mkdir(parents=True)
    draw = np.random.default_rng(25)
    for number in range(_ITEMS):
        pixels = draw.integers(0, 9000, (64, 64), np.uint16)
        write_cog(
            folder / "files" / "b" / f"{number:02}.tif", pixels,
            tile=32, overviews=(), crs="EPSG:32643", transform=(10, 0, 600_000, 0, -10, 1_400_000),
        )  # fmt: skip
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setattr(HttpStore, "_policy", lambda _self: RetryPolicy(4, 20, first_delay_s=0.01, max_delay_s=0.05))
        for name, seconds in {"FIRST_DELAY_S": 0.01, "MAX_DELAY_S": 0.05, "REQUEST_TIMEOUT_S": 1}.items():
            patch.setattr(buckets, name, seconds)
        server = stack.enter_context(RangeServer(folder / "files"))
        store = {"s3://b/": {"anonymous": True, "endpoint": server.base_url}}
        stack.enter_context(rs.set_options(credentials=store, attempts=4, retry_s=20, silence_s=1))
        loop.run(stores.aclose_all())
        stack.callback(lambda: loop.run(stores.aclose_all()))
        lab = Lab(server, folder, {scheme: folder / f"{scheme}.parquet" for scheme in SCHEMES})
        for scheme, index in lab.indexes.items():
            prefix = f"{server.base_url}/b/" if scheme == "http" else "s3://b/"
            rows = [
                {
                    "href": f"{prefix}{number:02}.tif", "item_id": f"item{number:02}", "asset": "red",
                    "datetime": f"2024-01-{number + 1:02}T00:00:00Z",
                }
                for number in range(_ITEMS)
            ]  # fmt: skip
            rs.build_index(pa.Table.from_pylist(rows), index)
        yield lab
