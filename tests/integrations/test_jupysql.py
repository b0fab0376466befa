"""SQL cells: JupySQL runs `%sql` and `%%sql` on a connection that has our functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_collection
from tests.arrays.kernels import Kernel, printed, shown

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sql", reason="jupysql is not installed")

RED = "read_tiles('s2.parquet', bands := ['red'])"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    written = write_collection(tmp_path / "collection", items=2, size=256, tile=128)
    rs.build_index(written.document, tmp_path / "s2.parquet")
    return Kernel(tmp_path, monkeypatch)


@pytest.mark.parametrize("database", [":memory:", "mine.duckdb"])
def test_cells_run_our_functions_on_the_connection_that_they_are_given(kernel: Kernel, database: str) -> None:
    outputs = kernel.run(
        "%load_ext sql\n%config SqlMagic.feedback = 0",
        f"import rasteret_sql as rs\ncon = rs.connect({database!r})\n%sql con --alias rasters",
        f"tiles = %sql SELECT count(*) AS tiles FROM {RED}\ntiles.dict()",
        f"%%sql\nSELECT item_id, octet_length(pixels) AS n\nFROM {RED}\nWHERE tile_row = 0",
        f"%%sql\nCREATE TABLE tiles AS\nSELECT item_id, octet_length(pixels) AS n FROM {RED}",
        "con.sql('SELECT sum(n) FROM tiles').fetchall()",
    )
    assert shown(outputs[2]) == "{'tiles': (8,)}"
    assert outputs[3][-1]["data"]["text/html"].count("32768") == 4
    assert shown(outputs[5]) == f"[({2 * 2 * 256 * 256},)]"
    assert "".join(map(printed, outputs)) == ""


def test_values_of_python_become_part_of_a_query_and_results_become_frames(kernel: Kernel) -> None:
    outputs = kernel.run(
        "%load_ext sql\n%config SqlMagic.feedback = 0",
        "import rasteret_sql as rs\ncon = rs.connect()\n%sql con",
        "bands, clouds, level = ['red', 'nir'], 101, 1",
        """\
        %%sql
        WITH clear AS (FROM 's2.parquet' WHERE "eo:cloud_cover" < {{clouds}})
        SELECT band, items FROM explain_read('clear', bands := {{bands}}, level := {{level}})""",
        "_.dict()",
        f"kept = %sql SELECT item_id, level, pixels FROM {RED}",
        "frame = kept.DataFrame()\nlist(frame.columns), len(frame), {len(pixels) for pixels in frame['pixels']}",
    )
    assert shown(outputs[4]) == "{'band': ('nir', 'red', 'total'), 'items': (2, 2, 2)}"
    assert shown(outputs[6]) == "(['item_id', 'level', 'pixels'], 8, {32768})"


def test_an_error_of_ours_is_shown_as_it_is(kernel: Kernel) -> None:
    kernel.client.allow_errors = True
    outputs = kernel.run(
        "%load_ext sql",
        "import rasteret_sql as rs\ncon = rs.connect()\n%sql con",
        "%sql FROM read_tiles('s2.parquet', bands := ['swir'])",
    )
    error = outputs[2][-1]
    assert error["output_type"] == "error"
    assert "bands: got 'swir', expected one of the assets 'blue', 'green', 'nir', 'red', 'scl'" in error["evalue"]
