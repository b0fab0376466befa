"""Serves a connection that has everything installed over DuckDB's own `quack` protocol.

A session of a client is a new connection of the same process. So what it may do is what the settings of the database,
the check of its statements and the policy of `io.access` leave; all are made here, before anybody can connect.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import secrets
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from rasteret_sql.checks import shown
from rasteret_sql.database.select_text import is_admitted, table_macros
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io import access, fork
from rasteret_sql.sql.catalog import CATALOG
from rasteret_sql.sql.client import Endpoint
from rasteret_sql.sql.connection import install, publish
from rasteret_sql.sql.served_reads import ServedReads
from rasteret_sql.sql.virtual import limit_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

#: The port of quack.
DEFAULT_PORT = 9494
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What quack takes at least is 4; a shorter one than this can be guessed.
MIN_TOKEN_CHARACTERS = 16
#: Bytes of a record batch in a served process: DuckDB computes some fifty of them ahead of a client.
BATCH_BYTES = 1 << 18
#: Seconds after which a read ends whose client takes no rows.
IDLE_S = 600.0
#: Chunks that one answer holds, of at most `BATCH_BYTES` each.
ANSWER_CHUNKS = 8
#: The first version whose connections take the maker of their sockets.
_CHECKED_AIOHTTP = (3, 12)
#: The version of DuckDB that has wheels of the extensions, and that the extra `serve` installs.
SERVED_DUCKDB = "1.5.5"
#: The extensions, in the order in which they are loaded.
_EXTENSIONS = ("httpfs", "quack")
_RESERVED = frozenset({CATALOG, "memory", "system", "temp", "main"})
#: Settings that planning makes on cursors of its own; sessions may, too.
_FREE_SETTINGS = ("search_path", "schema", "TimeZone")

#: The parsed tree of a statement, or of the one that EXPLAIN explains, goes to `select_text.is_admitted`.
_CHECK = """
CREATE OR REPLACE MACRO {name}(session, query) AS coalesce(
    {admits}(
        query::VARCHAR,
        json_serialize_sql(regexp_replace(
            query::VARCHAR, '^\\s*EXPLAIN(\\s+ANALYZE)?(\\s*\\([A-Za-z_, ]*\\))?\\s+', '', 'i'
        ))::VARCHAR
    ),
    false
)
"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is served, where, and what its clients may do.

    Attributes:
        database: path of a DuckDB database, or None.
        host: where to listen.
        port: 0 chooses a free one.
        token: what clients must know; None makes one.
        behind_tls: something in front of the server gives it TLS, so that `host` may be another than loopback.
        folders, urls, public_urls: what may be read; see `io.access.AccessPolicy`.
        writes: clients may run statements of any kind, and the database is not opened read-only.
        extensions: files or folders of the extensions httpfs and quack; else they are looked for.
        memory_limit: DuckDB's setting, such as "4GB".
        threads: of DuckDB.
        idle_s: seconds after which a read ends whose client takes no rows.
    """

    database: str | None = None
    host: str = "localhost"
    port: int = DEFAULT_PORT
    token: str | None = None
    behind_tls: bool = False
    folders: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    public_urls: bool = True
    writes: bool = False
    extensions: tuple[str, ...] = ()
    memory_limit: str | None = None
    threads: int | None = None
    idle_s: float = IDLE_S

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.behind_tls:
            raise InvalidArgumentError(
                f"host: got {shown(self.host)}, expected {', '.join(LOOPBACK)}: the protocol has no TLS, so "
                f"token and pixels would cross the network in the clear. Put a proxy with TLS in front and add "
                f"--behind-tls, or forward the port: ssh -L {self.port}:localhost:{self.port} THIS_MACHINE"
            )
        if not 0 <= self.port < 1 << 16:
            raise InvalidArgumentError(f"port: got {self.port}, expected 0 to 65535; 0 chooses a free one")
        if self.token is not None and len(self.token) < MIN_TOKEN_CHARACTERS:
            raise InvalidArgumentError(
                f"token: got {len(self.token)} characters, expected at least {MIN_TOKEN_CHARACTERS}; leave it out, and "
                f"one is made"
            )
        if not self.idle_s > 0:
            raise InvalidArgumentError(f"idle-seconds: got {self.idle_s:g}, expected a number above 0")
        for folder in self.folders:
            if not Path(folder).expanduser().is_dir():
                raise InvalidArgumentError(f"allow-dir: got {folder}, which is no folder; expected one that exists")


class Server:
    """A server that runs until `close`.

    Attributes:
        endpoint: what a client needs.
        policy: what may be read.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, endpoint: Endpoint, policy: access.AccessPolicy, reads: ServedReads
    ) -> None:
        self.endpoint = endpoint
        self.policy = policy
        self._con = con
        self._reads = reads
        reads.watch()

    def close(self) -> None:
        """Stop listening, end the sessions and close the database."""
        with contextlib.suppress(duckdb.Error):
            self._con.execute(f"CALL quack_stop({quote_literal(self.endpoint.uri)})").fetchall()
        self._con.close()
        self._reads.stop()
        _unrestrict()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()


def serve(options: ServeOptions) -> Server:
    """Start a server in this process, which reads only what the options allow from then on.

    Raises:
        InvalidArgumentError: an option is wrong, the port is taken, the extension quack is not there, or aiohttp is
            too old.
    """
    _require_checked_connections()
    loaded = find_extensions(options.extensions)
    with fork.no_fork:
        con = duckdb.connect(config={"python_enable_replacements": False})
    try:
        install(con)
        publish(con)
        _load(con, loaded)
        if options.database is not None:
            _attach(con, options.database, writes=options.writes)
        reads = ServedReads(BATCH_BYTES, options.idle_s)
        policy = _restrict(con, options, reads)
        endpoint = _listen(con, options, loaded)
    except BaseException:
        con.close()
        _unrestrict()
        raise
    return Server(con, endpoint, policy, reads)


def _unrestrict() -> None:
    limit_reads(None)
    access.restrict(None)


def _require_checked_connections() -> None:
    """Refuse an aiohttp that makes sockets itself, so that nobody can look at the addresses that it connects to."""
    found = importlib.metadata.version("aiohttp")
    if tuple(map(int, found.split(".")[:2])) < _CHECKED_AIOHTTP:
        needed = ".".join(map(str, _CHECKED_AIOHTTP))
        raise InvalidArgumentError(
            f"aiohttp: got {found}, expected {needed} or newer, which lets the address of each connection be looked "
            f"at. pip install 'aiohttp>={needed}'"
        )


def find_extensions(given: Sequence[str] = ()) -> dict[str, str]:
    """Give the files of the extensions, or their names where DuckDB has to look for them itself.

    Args:
        given: files, or folders that hold them. Else those of the wheels duckdb-extension-quack and
            duckdb-extension-httpfs are taken where they are of the version of DuckDB that runs.

    Raises:
        InvalidArgumentError: a given one is not there.
    """
    found = {}
    for name in _EXTENSIONS:
        file = f"{name}.duckdb_extension"
        path = next((path for one in given for path in (Path(one), Path(one) / file) if path.name == file), None)
        if path is not None and not path.is_file():
            raise InvalidArgumentError(f"extension: got {path}, which is no file; expected that of {name}")
        found[name] = str(path.resolve()) if path is not None else _in_wheel(name) or name
    if given and found["quack"] == "quack":
        raise InvalidArgumentError(
            f"extension: got {', '.join(given)}, expected quack.duckdb_extension or a folder that holds it"
        )
    return found


def _in_wheel(name: str) -> str | None:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for folder in folders:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.is_file():
            return str(path)
    return None


def _load_statement(extension: str) -> str:
    return f"LOAD {quote_literal(extension) if os.sep in extension else extension}"


def _load(con: duckdb.DuckDBPyConnection, extensions: dict[str, str]) -> None:
    # httpfs takes credentials from the environment, and shows them to everybody who asks for its settings.
    with _without_environment("AWS_"):
        for name, extension in extensions.items():
            try:
                con.execute(_load_statement(extension))
            except duckdb.Error as error:
                raise InvalidArgumentError(
                    f"extension {name}: got duckdb {duckdb.__version__} without it ({str(error).splitlines()[0]}), "
                    f"expected duckdb {SERVED_DUCKDB} with the wheels of its extensions. {_remedy(name)}; or name the "
                    f"file with --extension"
                ) from error


def _remedy(extension: str) -> str:
    """Say how to get an extension that is not there."""
    install = "pip install 'rasteret-sql[serve]'"
    if duckdb.__version__ == SERVED_DUCKDB:
        return f"Install them: {install}"
    return (
        f"Give the server an environment of its own: python3 -m venv .venv-serve && .venv-serve/bin/{install} && "
        f".venv-serve/bin/rasteret-sql serve (in a checkout: make serve). Or run INSTALL {extension} in a DuckDB "
        f"{duckdb.__version__} that has a network"
    )


@contextlib.contextmanager
def _without_environment(prefix: str) -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _attach(con: duckdb.DuckDBPyConnection, database: str, *, writes: bool) -> None:
    """Attach a database beside the one in memory that sessions begin in, whose names they must find there.

    A session begins in the first database of the process. It cannot be the user's: the functions would be kept in it.
    """
    path = Path(database).expanduser()
    if not path.is_file() and not writes:
        raise InvalidArgumentError(
            f"{database}: no such file; expected a DuckDB database. Add --allow-writes to make it"
        )
    name = path.stem
    if name.lower() in _RESERVED:
        raise InvalidArgumentError(f"{database}: the name {name!r} is taken; rename the file, or link to it")
    options = "" if writes else " (READ_ONLY)"
    try:
        con.execute(f"ATTACH {quote_literal(str(path.resolve()))} AS {quote_identifier(name)}{options}")
    except duckdb.Error as error:
        raise InvalidArgumentError(f"{database}: {str(error).splitlines()[0]}") from error
    rows = con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1 AND NOT internal "
        "UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = $1 AND NOT internal",
        [name],
    ).fetchall()
    for schema, table in rows:
        here = f"memory.{quote_identifier(schema)}"
        there = ".".join(map(quote_identifier, (name, schema, table)))
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {here}")
        # A view that does not run here, since it names files that clients may not read, is left out.
        with contextlib.suppress(duckdb.Error):
            con.execute(f"CREATE VIEW {here}.{quote_identifier(table)} AS FROM {there}")


def _restrict(con: duckdb.DuckDBPyConnection, options: ServeOptions, reads: ServedReads) -> access.AccessPolicy:
    """Let the database, and this process, read what the options allow; from here on nothing can be set any more."""
    from rasteret_sql.sql.stac import results_folder

    check = f"{CATALOG}.main._rst_admits"
    _make_check(con, check, is_open=options.writes)
    policy = access.AccessPolicy(
        folders=options.folders,
        urls=options.urls,
        public=options.public_urls,
        query_check=check,
        remedy="The server allows more with --allow-dir or --allow-url.",
    )
    access.restrict(policy)
    limit_reads(reads)
    # Arrow's own allocator keeps what large results took, and the system's gives most of it back.
    pa.set_memory_pool(pa.system_memory_pool())
    results = results_folder()
    folders = [*policy.folders, *(str(Path(name).expanduser().absolute()) for name in options.folders), str(results)]
    allowed = [f"{name.rstrip('/')}/" for name in dict.fromkeys(folders)]
    allowed += [url if url.endswith("/") else f"{url}/" for url in options.urls]
    settings: dict[str, str] = {
        "TimeZone": "'UTC'",
        "temp_directory": quote_literal(str(results / "spilled")),
        "quack_authorization_function": quote_literal(check),
        "quack_fetch_batch_chunks": str(ANSWER_CHUNKS),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allowed_directories": f"[{', '.join(map(quote_literal, allowed))}]",
        "enable_external_access": "false",
        "allowed_configs": f"[{', '.join(map(quote_literal, _FREE_SETTINGS))}]",
        "lock_configuration": "true",
    }
    if options.memory_limit is not None:
        settings = {"memory_limit": quote_literal(options.memory_limit), **settings}
    if options.threads is not None:
        settings = {"threads": str(options.threads), **settings}
    for name, value in settings.items():
        try:
            con.execute(f"SET GLOBAL {name} = {value}")
        except duckdb.Error as error:
            raise InvalidArgumentError(f"{name}: {str(error).splitlines()[0]}") from error
    return policy


def _make_check(con: duckdb.DuckDBPyConnection, name: str, *, is_open: bool) -> None:
    if is_open:
        con.execute(f"CREATE OR REPLACE MACRO {name}(session, query) AS true")
        return
    # A name that no macro of a session can take the place of.
    admits = f"_rstpy_admits_{uuid.uuid4().hex}"
    macros = table_macros(con)

    def admitted(query: str, tree: str) -> bool:
        return is_admitted(query, tree, macros)

    con.create_function(admits, admitted, ["VARCHAR", "VARCHAR"], "BOOLEAN", side_effects=False)
    con.execute(_CHECK.format(name=name, admits=admits))


def _listen(con: duckdb.DuckDBPyConnection, options: ServeOptions, extensions: dict[str, str]) -> Endpoint:
    port = options.port or _free_port(options.host)
    host = f"[{options.host}]" if ":" in options.host else options.host
    uri = f"quack:{host}:{port}"
    token = options.token or secrets.token_urlsafe(24)
    is_local = options.host in LOOPBACK
    try:
        con.execute(
            "CALL quack_serve($uri, token := $token, allow_other_hostname := $others)",
            {"uri": uri, "token": token, "others": not is_local},
        ).fetchall()
    except duckdb.Error as error:
        raise InvalidArgumentError(
            f"{host}:{port}: {str(error).splitlines()[0]}; expected a free port. Choose another with --port; 0 takes "
            f"any that is free"
        ) from error
    # Another machine has files of its own.
    names = extensions.values() if is_local else extensions
    return Endpoint(uri, token, tuple(map(_load_statement, names)))


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as found:
            found.bind((host, 0))
            return int(found.getsockname()[1])
    except OSError as error:
        raise InvalidArgumentError(
            f"host: got {shown(host)}: {error.strerror}; expected a name of this machine"
        ) from error
