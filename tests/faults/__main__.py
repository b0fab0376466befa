"""`python -m tests.faults` runs every cell and writes docs/faults.md; a cell that is wrong ends it."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.matrix import FAULTS, RATES, SCHEMES, doors, laboratory

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_HEAD = """\
# Faulty servers

This page lists faults of servers, and what reads and builds make of them. A share of all requests has the fault: {rates}. Each row
is tried through {count} doors: {doors}. Sixteen files are read or indexed. The result is **ok** if all
pixels are those of a server without faults, or the name of the error. There is no third result: `make test-faults` fails on wrong
pixels, and on errors of other libraries. A request is sent four times at most. The seed is {seed}; `make test-faults SEED=7` draws other
requests. The server takes any signature. obstore reads from it under `s3://`.

At 50% of requests, an error is the expected result: of sixteen files, one fails four times in most runs. Faults such as 403 or a
wrong Content-Range are never sent again, so one of them fails the read. A build knows no ETag beforehand, so it is ok with another one.

"""


def page(seed: int) -> str:
    """Run all cells, and give the text of the page."""
    listed = doors()
    rates = ", ".join(f"{rate:.0%}" for rate in RATES)
    lines = [_HEAD.format(rates=rates, count=len(listed), doors=", ".join(listed), seed=seed)]
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder)) as lab:
        for scheme in SCHEMES:
            lines.append(f"## {scheme}\n\n| Fault | {' | '.join(f'{rate:.0%}' for rate in RATES)} |\n")
            lines.append(f"|---|{'---|' * len(RATES)}\n")
            for fault in FAULTS:
                cells = [
                    _cell(Counter(lab.outcome(fault, scheme, door, rate, seed) for door in listed)) for rate in RATES
                ]
                lines.append(f"| {fault} | {' | '.join(cells)} |\n")
                print(scheme, fault, *cells, sep=" | ", flush=True)  # noqa: T201
            lines.append("\n")
    return "".join(lines).rstrip("\n") + "\n"


def _cell(outcomes: Counter[str]) -> str:
    ordered = sorted(outcomes.items(), key=lambda each: (each[0] != "ok", each[0]))
    return ", ".join(f"{count} {name if name == 'ok' else f'`{name}`'}" for name, count in ordered)


if __name__ == "__main__":
    PAGE.write_text(page(int(os.environ.get("RASTERET_FAULT_SEED", "1"))), encoding="utf-8")
