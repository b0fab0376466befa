"""Plans one city and one month from an index, in a process of its own; the clock starts after the imports."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

from rasteret_sql.sql.catalog import sql_objects


def plan() -> None:
    """Print the milliseconds of a plan, and the bytes that were read for it where the system counts them."""
    job = json.loads(sys.argv[1])
    objects = sql_objects("macros", "plain")
    began_s = time.perf_counter()
    con = duckdb.connect(config={"threads": job["threads"]})
    for found in objects:
        con.execute(found.text)
    before = _bytes_read()
    planned_s = time.perf_counter()
    query = "SELECT count(*) FROM tile_plan($index, bbox := $bbox, datetime := $datetime)"
    ((tiles,),) = con.execute(query, {name: job[name] for name in ("index", "bbox", "datetime")}).fetchall()
    ended_s = time.perf_counter()
    after = _bytes_read()
    facts = {
        "tiles": tiles,
        "plan_ms": 1000 * (ended_s - planned_s),
        "all_ms": 1000 * (ended_s - began_s),
        "read_bytes": None if before is None or after is None else after - before,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


def _bytes_read() -> int | None:
    counters = Path("/proc/self/io")
    if not counters.exists():
        return None
    return int(counters.read_text(encoding="ascii").split("rchar: ")[1].split()[0])
