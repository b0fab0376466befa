"""Plans one city and one month from an index, in a process of its own; the clock starts after the imports.

In SQL, by `tile_plan`, and in Python, as `to_numpy` and all other reads plan.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
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


def plan_in_python() -> None:
    """Print the milliseconds of a plan in Python, from no connection at all, and the bytes that were read for it."""
    import aiohttp  # noqa: F401
    import numpy.ma  # noqa: F401

    from rasteret_sql.errors import EmptyReadError
    from rasteret_sql.read.engine import DECODERS
    from rasteret_sql.sql import connection, files  # noqa: F401
    from rasteret_sql.sql.readers import plan_index, read_arguments

    for name in DECODERS:
        import_module(name)
    job = json.loads(sys.argv[1])
    arguments = read_arguments(None, None, job["bbox"], None, job["datetime"], None, None)

    def planned() -> int:
        try:
            return len(plan_index(job["index"], arguments).plan)
        except EmptyReadError:
            return 0

    before = _bytes_read()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    tiles = planned()
    ended_s, ended_cpu_s = time.perf_counter(), time.process_time()
    after = _bytes_read()
    again = planned()
    again_cpu_s = time.process_time()
    assert again == tiles
    facts = {
        "tiles": tiles,
        "plan_ms": 1000 * (ended_s - began_s),
        "cpu_ms": 1000 * (ended_cpu_s - began_cpu_s),
        "again_cpu_ms": 1000 * (again_cpu_s - ended_cpu_s),
        "read_bytes": None if before is None or after is None else after - before,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


def _bytes_read() -> int | None:
    counters = Path("/proc/self/io")
    if not counters.exists():
        return None
    return int(counters.read_text(encoding="ascii").split("rchar: ")[1].split()[0])
