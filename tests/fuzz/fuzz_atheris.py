"""Coverage-guided fuzzing of whole files with atheris (dependency group `fuzz`); `make fuzz` runs it for ten minutes.

Arguments are those of libFuzzer. What breaks is written to `build/fuzz/` as `crash-*`, `oom-*` or `timeout-*`; minimise
it with `-minimize_crash=1`, give it a name that says what is wrong, and keep it in `regressions/`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rasteret_sql"]):
    from tests.fuzz.target import examine

from tests.fuzz import mutations
from tests.fuzz.corpus import CORPUS, REGRESSIONS, corpus

FOUND = Path("build/fuzz")
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", f"-max_len={mutations.MAX_BYTES}")
"""Seconds and memory of one input."""


def one_input(data: bytes) -> None:
    """Parse a header and decode some tiles; whatever escapes is a finding."""
    examine(data)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Break tables as the hypothesis tests do, or bytes as libFuzzer does."""
    if seed % 2:
        return atheris.Mutate(data, max_size)
    return mutations.broken_file(data, random.Random(seed), list(corpus().values()))[:max_size]


def main() -> None:
    """Fuzz until libFuzzer is told to stop."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if not folders:
        # libFuzzer writes what it finds of interest to the first folder; what is kept here are seeds alone.
        FOUND.mkdir(parents=True, exist_ok=True)
        folders = [str(FOUND)]
        options.append(f"-artifact_prefix={FOUND}/")
    arguments = [sys.argv[0], *LIMITS, *options, *folders, str(CORPUS), str(REGRESSIONS)]
    atheris.Setup(arguments, one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
