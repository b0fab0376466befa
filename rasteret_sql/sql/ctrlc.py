"""Ctrl-C while DuckDB runs a query: the reads end (`io/interrupts.py`), and the query raises KeyboardInterrupt.

DuckDB (1.5.5, 2.0.1) raises an error of its own, for one of two reasons:

* Its threads got an error from the reads that ended, and Python has not handled the signal yet.
* Its main thread read itself, and DuckDB made an error of the KeyboardInterrupt there. This is noted.

`workarounds.raise_from_errors` has code of ours run where Python makes the error. There a pending signal becomes a
KeyboardInterrupt, and one that is noted is raised again. Where DuckDB looks for signals itself, it raises
`RuntimeError: Query interrupted`, as for any query.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rasteret_sql.io import interrupts
from rasteret_sql.sql.workarounds import raise_from_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Whether the main thread has raised a KeyboardInterrupt into DuckDB.
_raised_into_duckdb = False


def watch() -> None:
    """Listen for SIGINT from now on, if this is the main thread."""
    interrupts.watch()
    raise_from_errors(_interrupt_in_place_of)


@contextmanager
def noted() -> Iterator[None]:
    """Note a KeyboardInterrupt in the block, which DuckDB called."""
    global _raised_into_duckdb  # noqa: PLW0603 - a fact of the main thread
    try:
        yield
    except KeyboardInterrupt:
        _raised_into_duckdb = True
        raise


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, also where DuckDB saw the signal first."""
    # DuckDB has no class for it.
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and str(error) == "Query interrupted"
    )


def _interrupt_in_place_of(message: str) -> BaseException | None:
    """Give the KeyboardInterrupt that DuckDB made an error of; called for each of its errors."""
    global _raised_into_duckdb  # noqa: PLW0603 - a fact of the main thread
    if not _raised_into_duckdb or threading.current_thread() is not threading.main_thread():
        return None
    _raised_into_duckdb = False
    # Readers of Arrow have errors of their own. Then this is another one, and comes later.
    return KeyboardInterrupt() if KeyboardInterrupt.__name__ in message else None
