"""`make test-matrix`: the suite on the Pythons of this machine and both DuckDBs, each pair in an environment of its own.

Environments are kept in `build/matrix`, or where RASTERET_MATRIX says. They have no torch, which is gigabytes in each. Arguments are
those of pytest; without any, the tests of `make test` run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("RASTERET_MATRIX", ROOT / "build" / "matrix"))
#: Pythons, and the DuckDB that each runs with: the oldest on the newest Python and on the oldest, the newest in between.
PAIRS = (("3.11", "1.5.5"), ("3.12", "2.*"), ("3.13", "1.5.5"))
PACKAGES = (".[dask,plot,shell,notebook]", "--group", "test", "--group", "docs")
SUITE = (
    "-m",
    "not slow and not servers and not faults and not load and not ray and not spark",
    "-n",
    "2",
    "--dist",
    "loadfile",
    "-q",
)


def interpreter(version: str) -> str | None:
    """The interpreter of a version, on the PATH or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        # What pyenv puts on the PATH may refuse to run.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(found)
    return None


def environment(version: str, duckdb: str) -> Path | str:
    """The interpreter of an environment with what the tests need, or why there is none."""
    python = FOLDER / f"python{version}-duckdb{duckdb.rstrip('.*')}" / "bin" / "python"
    if not python.exists():
        found = interpreter(version)
        if found is None:
            return f"no Python {version} on this machine"
        subprocess.run([found, "-m", "venv", python.parents[1]], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    for command in ([*pip, "--upgrade", "pip>=25.1"], [*pip, f"duckdb=={duckdb}", "--editable", *PACKAGES]):
        done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return f"not installed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    return python


def main(arguments: list[str]) -> int:
    """Run the suite once for each pair; gives 1 if any failed, or none was there to run."""
    outcomes = []
    for version, duckdb in PAIRS:
        name = f"Python {version}, DuckDB {duckdb}"
        print(f"== {name}", flush=True)
        python = environment(version, duckdb)
        if isinstance(python, str):
            outcomes.append((name, f"skipped: {python}"))
            continue
        command = [str(python), "-m", "pytest", *(arguments or SUITE)]
        # The commands of the environment come first: tests look for some beside the interpreter, some on the PATH.
        paths = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
        failed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": paths}, check=False).returncode
        outcomes.append((name, f"failed: pytest ended with {failed}" if failed else "passed"))
    for name, outcome in outcomes:
        print(f"{name}: {outcome}")
    ran = [outcome for _, outcome in outcomes if not outcome.startswith("skipped")]
    return 0 if ran and all(outcome == "passed" for outcome in ran) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
