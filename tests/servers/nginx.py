"""nginx: plain HTTP and HTTPS, with a folder for each thing that servers do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.running import free_ports, program, run, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIGURATION = """\
daemon off; pid nginx.pid; error_log error.log; worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log access.log; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp;
  scgi_temp_path tmp;
  types {{ image/tiff tif; application/vnd.apache.parquet parquet; }}
  limit_req_zone $server_port zone=rl:1m rate=2r/s;
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    root {www};
    location /redirect/ {{ rewrite ^/redirect/(.*)$ /$1 redirect; }}
    location /auth/     {{ alias {www}/; auth_basic x; auth_basic_user_file {folder}/htpasswd; }}
    location /key/      {{ alias {www}/; if ($arg_apikey != "right") {{ return 403; }} }}
    location /limited/  {{ alias {www}/; limit_req zone=rl; limit_req_status 429; }}
    location /norange/  {{ alias {www}/; max_ranges 0; }}
    location /e503/     {{ return 503; }}
    location /slow/     {{ alias {www}/; limit_rate 100k; }}
    location /gzip/     {{ alias {www}/; gzip on; gzip_types image/tiff; }}
    location /region/   {{ return 301; }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    http: str
    https: str
    certificate: Path
    folder: Path

    def requests(self, path: str) -> list[int]:
        """Give the status of each answer to a request for a path, from the log."""
        lines = [line.split('"') for line in (self.folder / "access.log").read_text().splitlines()]
        return [int(parts[2].split()[0]) for parts in lines if parts[1].split()[1].partition("?")[0] == path]


@contextmanager
def serving(www: Path, folder: Path) -> Iterator[Nginx]:
    """Serve a folder."""
    nginx, openssl = program("nginx"), program("openssl")
    http, https = free_ports(2)
    certificate = folder / "cert.pem"
    run(
        openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", certificate,
    )  # fmt: skip
    (folder / "tmp").mkdir()
    (folder / "htpasswd").write_text("me:{PLAIN}secret\n")
    # Workers of root run as nobody, who may not read folders of tests.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(user=user, http=http, https=https, folder=folder, www=www))
    with started([nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], folder, http):
        yield Nginx(f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", certificate, folder)
