"""S3 of SeaweedFS and of Ceph RGW: each checks signatures, and Ceph who pays."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tests.servers.running import free_ports, program, run, started

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    """A server with the keys of the owner of its buckets."""

    endpoint: str
    key_id: str
    secret: str

    @contextmanager
    def client(self) -> Iterator[Any]:
        import boto3

        keys = {"aws_access_key_id": self.key_id, "aws_secret_access_key": self.secret, "region_name": REGION}
        with contextlib.closing(boto3.client("s3", endpoint_url=self.endpoint, **keys)) as client:
            yield client

    def presigned(self, bucket: str, key: str, *, at: dt.datetime, seconds: int) -> str:
        """Sign a GET in the query of its URL, at any time (Signature Version 4)."""
        host, when = urlsplit(self.endpoint).netloc, at.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{when[:8]}/{REGION}/s3/aws4_request"
        given = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key_id}/{scope}",
            "X-Amz-Date": when,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        query = "&".join(f"{name}={quote(text, safe='')}" for name, text in sorted(given.items()))
        path = f"/{bucket}/{quote(key)}"
        canonical = f"GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signing = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        signature = hmac.digest(signing, f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{digest}".encode(), "sha256").hex()
        return f"{self.endpoint}{path}?{query}&X-Amz-Signature={signature}"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3]:
    """Run SeaweedFS, whose bucket `public` anybody may read."""
    weed = program("weed")
    keys = {"accessKey": "owner-key", "secretKey": "owner/secret+"}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {"name": "owner", "credentials": [keys], "actions": actions},
        {"name": "anonymous", "actions": ["Read:public", "List:public"]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    services = ("master", "volume", "filer", "s3")
    numbers = free_ports(2 * len(services))
    ports = dict(zip(services, numbers[: len(services)], strict=True))
    command: list[str | Path] = [weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"]
    for service, grpc in zip(services, numbers[len(services) :], strict=True):
        command += [f"-{service}.port={ports[service]}", f"-{service}.port.grpc={grpc}"]
    command += ["-volume.max=50", "-volume.minFreeSpace=1", "-master.volumeSizeLimitMB=64", "-filer", "-s3"]
    # Its catalogs of tables would listen at ports that are the same for all servers.
    command += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with started(command, folder, ports["s3"]):
        yield S3(f"http://127.0.0.1:{ports['s3']}", keys["accessKey"], keys["secretKey"])


_CEPH = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
mon initial members = a
public network = 127.0.0.0/8
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
mon max pg per osd = 1000
run dir = {d}/run
admin socket = {d}/run/$name.asok
log file = {d}/$name.log
mon data avail warn = 2
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 2147483648
osd class dir = /usr/lib/x86_64-linux-gnu/rados-classes
[mon]
mon data = {d}/mon
keyring = {d}/keyring
[osd]
osd data = {d}/osd
keyring = {d}/osd/keyring
[client.admin]
keyring = {d}/keyring
[client.rgw.a]
keyring = {d}/rgw.keyring
rgw data = {d}/run
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = 127.0.0.1
rgw thread pool size = 32
"""


@contextmanager
def ceph(folder: Path) -> Iterator[tuple[S3, S3]]:
    """Run a monitor, an object store in memory and the gateway; give the keys of an owner and of a reader."""
    names = ("ceph-authtool", "monmaptool", "ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
    tools = {name: program(name) for name in names}
    v1, v2, port = free_ports(3)
    for name in ("mon", "osd", "run"):
        (folder / name).mkdir()
    fsid, osd_id = str(uuid.uuid4()), str(uuid.uuid4())
    (folder / "ceph.conf").write_text(_CEPH.format(d=folder, fsid=fsid, v1=v1, v2=v2, port=port))
    with_conf = ("-c", folder / "ceph.conf")
    keyring = folder / "keyring"
    run(tools["ceph-authtool"], "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    caps = [part for daemon in ("mon", "osd", "mgr") for part in ("--cap", daemon, "allow *")]
    run(tools["ceph-authtool"], keyring, "--gen-key", "-n", "client.admin", *caps)
    addresses = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
    run(tools["monmaptool"], "--create", "--addv", "a", addresses, "--fsid", fsid, folder / "monmap", "--clobber")
    run(tools["ceph-mon"], "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keyring, *with_conf)
    with contextlib.ExitStack() as stack:
        stack.enter_context(started([tools["ceph-mon"], "-f", "-i", "a", *with_conf], folder, v2))
        secret = run(tools["ceph-authtool"], "--gen-print-key").strip()
        (folder / "osd.json").write_text(json.dumps({"cephx_secret": secret}))
        run(tools["ceph"], *with_conf, "osd", "new", osd_id, "-i", folder / "osd.json")
        run(
            tools["ceph-authtool"],
            "--create-keyring",
            folder / "osd" / "keyring",
            "--name",
            "osd.0",
            "--add-key",
            secret,
        )
        run(tools["ceph-osd"], "-i", "0", "--mkfs", "--osd-uuid", osd_id, *with_conf)
        stack.enter_context(started([tools["ceph-osd"], "-f", "-i", "0", *with_conf], folder))
        run(tools["ceph"], *with_conf, "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        rights = [part for daemon in ("mon", "osd", "mgr") for part in (daemon, "allow *")]
        run(tools["ceph"], *with_conf, "auth", "get-or-create", "client.rgw.a", *rights, "-o", folder / "rgw.keyring")
        stack.enter_context(started([tools["radosgw"], "-f", "-n", "client.rgw.a", *with_conf], folder, port))
        users = []
        for name in ("owner", "reader"):
            user = S3(f"http://127.0.0.1:{port}", f"{name}-key", f"{name}-secret")
            given = (
                f"--uid={name}",
                f"--display-name={name}",
                f"--access-key={user.key_id}",
                f"--secret-key={user.secret}",
            )
            run(tools["radosgw-admin"], *with_conf, "user", "create", *given)
            users.append(user)
        yield users[0], users[1]
