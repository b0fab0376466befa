"""`rasteret-sql serve`: the functions for the stock DuckDB shell and every other DuckDB client."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import note

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rasteret_sql.sql.client import Endpoint
    from rasteret_sql.sql.serving import Server

#: The environment variable that holds the token.
TOKEN_VARIABLE = "RASTERET_SQL_TOKEN"  # noqa: S105 - its name
#: Seconds that the end waits for queries which still run.
CLOSE_TIMEOUT_S = 5.0

_EPILOG = f"""\
Clients use DuckDB's protocol `quack`. --write-client writes a script that gives clients the same functions, so
FROM read_tiles('s2.parquet', bands := ['red']) is the same SQL as everywhere else.

Clients may read the folders of --allow-dir, the URLs of --allow-url, and http(s) URLs of public hosts, and nothing
else. They may run only SELECT, unless --allow-writes is given. The token comes from {TOKEN_VARIABLE} or
--token-file; otherwise the server generates one. With --token, everybody who can list processes sees the token.
Ctrl-C or SIGTERM ends the server.

The protocol needs DuckDB 1.5.5, and is best installed in an environment of its own: pip install 'rasteret-sql[serve]'.
In a checkout, `make serve` makes this environment and runs the server.

examples:
  rasteret-sql serve --allow-dir . --write-client client.sql
  duckdb -init client.sql                                       in another terminal
  rasteret-sql serve study.duckdb --allow-dir /data --allow-url s3://sentinel-cogs/
  rasteret-sql serve --port 0 --json | head -1                  for programs: uri and token as JSON
  rasteret-sql serve --host 0.0.0.0 --behind-tls --client-uri quack:data.example.org:443"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "serve", "serve the functions to the duckdb shell and other clients", _EPILOG)
    command.add_argument("db", nargs="?", metavar="DB", help="DuckDB database whose tables clients can read")
    command.add_argument("--port", type=int, metavar="N", help="port to listen on (9494); 0 takes a free port")
    command.add_argument("--token", metavar="TEXT", help=f"token that clients must send; {TOKEN_VARIABLE} is safer")
    command.add_argument("--token-file", type=Path, metavar="FILE", help="read the token from a file")
    command.add_argument(
        "--allow-dir", action="append", default=[], metavar="DIR", help="folder that clients may read; repeatable"
    )
    command.add_argument(
        "--allow-url",
        action="append",
        default=[],
        metavar="PREFIX",
        help="URLs that clients may read: s3://bucket/, http://10.0.0.5/cogs/; repeatable",
    )
    command.add_argument("--no-public-urls", action="store_true", help="allow only the URLs of --allow-url")
    command.add_argument(
        "--allow-writes", action="store_true", help="allow statements of all kinds: only for people you trust"
    )
    command.add_argument("--memory-limit", metavar="SIZE", help="memory limit of DuckDB, such as 4GB")
    command.add_argument("--threads", type=int, metavar="N", help="number of DuckDB threads")
    command.add_argument(
        "--idle-seconds", type=float, metavar="N", help="end reads whose client takes no rows for N seconds (600)"
    )
    command.add_argument(
        "--host", default="localhost", help="host to listen on (localhost); other hosts need --behind-tls"
    )
    command.add_argument("--behind-tls", action="store_true", help="a proxy provides TLS to remote clients")
    command.add_argument("--client-uri", metavar="URI", help="address for clients, such as quack:data.example.org:443")
    command.add_argument(
        "--extension", action="append", default=[], metavar="PATH", help="file or folder of the extension quack"
    )
    command.add_argument(
        "--write-client", type=Path, metavar="FILE", help="write the script for clients, with the token"
    )
    command.add_argument("--client-sql", action="store_true", help="print the script for clients first")
    command.add_argument("--json", action="store_true", help="print the address as one line of JSON")
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from rasteret_sql.sql.serving import DEFAULT_PORT, IDLE_S, ServeOptions, serve

    options = ServeOptions(
        database=arguments.db,
        host=arguments.host,
        port=DEFAULT_PORT if arguments.port is None else arguments.port,
        token=_token(arguments),
        behind_tls=arguments.behind_tls,
        folders=tuple(arguments.allow_dir),
        urls=tuple(arguments.allow_url),
        public_urls=not arguments.no_public_urls,
        writes=arguments.allow_writes,
        extensions=tuple(arguments.extension),
        memory_limit=arguments.memory_limit,
        threads=arguments.threads,
        idle_s=IDLE_S if arguments.idle_seconds is None else arguments.idle_seconds,
    )
    server = serve(options)
    try:
        with _signals() as signalled:
            _announce(server, arguments)
            signalled.recv(1)
    except BaseException:
        server.close()
        raise
    # Once more ends it at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _close(server)
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """Give a socket from which a byte comes with SIGINT or SIGTERM.

    An event would miss one that another thread gets, or that comes just before the main thread waits for it.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        descriptor = signal.set_wakeup_fd(writer.fileno())
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


def _token(arguments: argparse.Namespace) -> str | None:
    if arguments.token is not None and arguments.token_file is not None:
        arguments.usage_error("give one of --token and --token-file")
    if arguments.token_file is not None:
        return str(arguments.token_file.expanduser().read_text(encoding="utf-8").strip())
    return arguments.token or os.environ.get(TOKEN_VARIABLE)


def _announce(server: Server, arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from rasteret_sql import __version__
    from rasteret_sql.sql.client import client_script, copy_paste

    endpoint = server.endpoint
    if arguments.client_uri is not None:
        endpoint = replace(endpoint, uri=arguments.client_uri, load=("LOAD httpfs", "LOAD quack"))
    script = client_script(endpoint, __version__)
    if arguments.write_client is not None:
        _write_private(arguments.write_client, script)
    if arguments.client_sql:
        print(script, flush=True)
    if arguments.json:
        facts = {"uri": endpoint.uri, "token": endpoint.token, "port": _port(server.endpoint), "pid": os.getpid()}
        if arguments.write_client is not None:
            facts["client"] = str(arguments.write_client)
        print(json.dumps(facts), flush=True)
        return
    shell, *statements = copy_paste(_shell(), str(arguments.write_client or "client.sql"), endpoint)
    policy = server.policy
    lines = [
        f"Serving at {server.endpoint.uri} until Ctrl-C.",
        f"  token    {endpoint.token}",
        f"  folders  {', '.join(policy.folders) or 'none: --allow-dir DIR lets clients read one'}",
        f"  URLs     {', '.join([*policy.urls, *(['public http(s)'] if policy.public else [])]) or 'none'}",
        f"  SQL      {'statements of all kinds' if arguments.allow_writes else 'SELECT only'}",
        "",
        "In another terminal:"
        if arguments.write_client is not None
        else "With --write-client FILE, in another terminal:",
        f"  {shell}",
        "or in any DuckDB client:",
        *(f"  {statement}" for statement in statements),
    ]
    print("\n".join(lines), flush=True)


def _shell() -> str:
    """Give the command `duckdb` of this environment, whose version the extensions fit; else that of PATH."""
    beside = Path(sys.executable).with_name("duckdb")
    found = shutil.which("duckdb")
    if not beside.exists() or (found is not None and beside.samefile(found)):
        return "duckdb"
    return shlex.quote(os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside))


def _port(endpoint: Endpoint) -> int:
    return int(endpoint.uri.rpartition(":")[2])


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read: a token is in it."""
    path = path.expanduser()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    aside.replace(path)


def _close(server: Server) -> None:
    """Stop, and end the process; queries that still run end with it."""
    from rasteret_sql.io import loop

    closing = threading.Thread(target=server.close, daemon=True)
    closing.start()
    loop.interrupt()
    closing.join(CLOSE_TIMEOUT_S)
    if closing.is_alive():
        note("Queries still run; they end now.")
    sys.stdout.flush()
    sys.stderr.flush()
    # quack stops in a thread that nobody joins: were it still running while C++ takes down its objects, the process
    # would abort. So what Python wants done at the end is done, and the rest is left to the system.
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public name for it
    os._exit(0)
