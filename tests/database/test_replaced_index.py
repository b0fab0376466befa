"""An index that is written again at its path is planned anew, though the process remembers the footers of files."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3_600


def write_index(folder: Path, path: Path, values: range) -> None:
    """Write an index of one item per value, whose pixels have this value."""
    rows = []
    for value in values:
        file = folder / f"{value}.tif"
        write_cog(file, np.full((64, 64), value, np.uint16), tile=64, overviews=())
        when = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=value)
        rows.append({"href": str(file), "item_id": str(value), "asset": "red", "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), path)


def values_of(index: Path) -> list[int]:
    return [int(item.max()) for item in rs.to_numpy(index).data]


@pytest.mark.parametrize("form", ["file", "folder"])
@pytest.mark.parametrize("hours", [None, (2, 1), (1, 2)], ids=["just now", "later", "earlier"])
def test_an_index_that_was_replaced_is_planned_anew(tmp_path: Path, form: str, hours: tuple[int, int] | None) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "part.parquet"
    index = path if form == "file" else folder
    now = tmp_path.stat().st_mtime
    for number, values in enumerate((range(1, 3), range(5, 6))):
        new = tmp_path / f"{number}.parquet"
        write_index(tmp_path, new, values)
        if hours is not None:
            os.utime(new, (now, now - hours[number] * HOUR_S))
        shutil.move(new, path)
        assert values_of(index) == list(values)
        assert values_of(index) == list(values)
