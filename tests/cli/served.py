"""The stock DuckDB shell and a server that runs with the duckdb it fits, in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "1.5.5"
PACKAGES = [
    f"{name}=={VERSION}" for name in ("duckdb", "duckdb-cli", "duckdb-extension-quack", "duckdb-extension-httpfs")
]
ROOT = Path(__file__).parents[2]
NO_TERMINAL = {"NO_COLOR": "1", "TERM": "dumb"}


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

    def start(self, sql, *arguments, init=True):
        """Start the stock shell with the script of a client; what it shows is JSON."""
        command = [
            str(self.packages / "duckdb_cli" / "duckdb"),
            "-json",
            *(("-init", str(self.client)) if init else ()),
        ]
        return subprocess.Popen(
            [*command, *arguments, "-c", ".mode json", "-c", ".print @@@", "-c", sql],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **NO_TERMINAL},
        )  # fmt: skip

    def run(self, sql, **options):
        """Give the rows of a query, or the text of its error."""
        with self.start(sql, **options) as shell:
            out, err = shell.communicate(timeout=120)
        if shell.returncode:
            return err
        # Before it stands what the script of a client says.
        text = out.partition("@@@\n")[2]
        return json.loads(text) if text.strip() else []

    def peak_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        raise AssertionError


def start_server(packages, folder, *arguments, env=None):
    """Start `rasteret-sql serve` on a free port and wait for the line that says where."""
    client = folder / "client.sql"
    command = [
        sys.executable, "-m", "rasteret_sql", "serve", *map(str, arguments), "--port", "0", "--json", "--write-client", str(client)
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", **(env or {})}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environ
    )
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.stderr.read())
    return Served(process, json.loads(line), client, packages)
