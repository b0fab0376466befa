"""The stock DuckDB shell and a server that runs with the duckdb it fits, in an environment of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "1.5.5"
PACKAGES = [
    f"{name}=={VERSION}" for name in ("duckdb", "duckdb-cli", "duckdb-extension-quack", "duckdb-extension-httpfs")
]
ROOT = Path(__file__).parents[2]
NO_TERMINAL = {"NO_COLOR": "1", "TERM": "dumb"}
#: Stands before each answer of the shell; before the first one is what the script of a client says.
_MARK = "rasteret_sql.index.@"


def environment() -> Path:
    """The folder of the packages, which lie before those of this environment; made once, 7 s and 170 MB."""
    folder = Path(sys.prefix) / f"served-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    if (folder / "duckdb_cli" / "duckdb").exists():
        return folder
    with tempfile.TemporaryDirectory(dir=sys.prefix) as aside:
        target = Path(aside) / "packages"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            pytest.skip(f"pip cannot install duckdb {VERSION} with its shell and quack: {reason}")
        try:
            target.rename(folder)
        except OSError:  # another process of the same run was faster
            assert (folder / "duckdb_cli" / "duckdb").exists()
    return folder


@dataclass
class Served:
    """A server that runs, and the shell of its clients."""

    process: subprocess.Popen
    facts: dict
    client: Path
    packages: Path

    def start(self, *queries, init=True):
        """Start the stock shell with the script of a client; it answers the queries in JSON, as `parsed` reads it."""
        command = [str(self.packages / "duckdb_cli" / "duckdb"), "-json"]
        shell = subprocess.Popen(
            [*command, *(("-init", str(self.client)) if init else ())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **NO_TERMINAL},
        )  # fmt: skip
        shell.stdin.write("".join(f".print {_MARK}\n{sql.rstrip(';')};\n" for sql in queries))
        shell.stdin.close()
        shell.stdin = None
        return shell

    def answers(self, *queries, init=True):
        """Give rows, or the text of the error, of each of the queries, which one shell runs."""
        with self.start(*queries, init=init) as shell:
            out = shell.communicate()[0]
        found = parsed(out)
        assert len(found) == len(queries), out
        return found

    def run(self, sql, *, init=True):
        """Give the rows of a query, or the text of its error."""
        return self.answers(sql, init=init)[0]

    def peak_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        raise AssertionError

    def end(self, number=signal.SIGTERM):
        """Ask it to end; gives exit code, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate()
        return self.process.returncode, out, err


def parsed(out):
    """The answers of a shell: rows, or the text of an error."""
    return [_rows(text) for text in out.split(f"{_MARK}\n")[1:]]


def _rows(text):
    if not text.strip():
        return []
    return json.loads(text) if text.startswith("[") else text


@contextmanager
def running(packages, folder, *arguments, env=None):
    """Run `rasteret-sql serve` on a free port; it must end well when it is asked to, unless that was done before."""
    client = folder / "client.sql"
    command = [
        sys.executable, "-m", "rasteret_sql", "serve", *map(str, arguments), "--port", "0", "--json", "--write-client", str(client)
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", **(env or {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environ
    ) as process:
        line = process.stdout.readline()
        if not line:
            pytest.fail(process.stderr.read())
        found = Served(process, json.loads(line), client, packages)
        try:
            yield found
        except BaseException:
            process.kill()
            raise
        if process.poll() is None:
            try:
                assert found.end() == (0, "", "")
            finally:
                process.kill()
