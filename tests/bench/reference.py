"""The baseline: a script that applies the same objects and installs the same chart with xargs."""

import json
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storefleet.core.identifiers import STORE_PREFIX, TENANT_PREFIX, generate_id
from storefleet.core.models import Store, utc_now
from storefleet.core.settings import Settings
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.kubernetes import manifests
from tests.bench.fleet import Fleet

AT_ONCE = 5
_SCRIPT_TIMEOUT_S = 1200.0
#: Creates a store from its folder; Helm is retried if it ran before the quota was computed.
_SCRIPT = """#!/bin/sh
set -eu
cd "$1"
namespace=$(cat name)
kubectl apply --filename namespace.json >applied
options="--namespace $namespace --values values.json"
helm install store "{chart}" $options >installed 2>failed && exit
echo again >>again
sleep 0.3
exec helm upgrade --install store "{chart}" $options >installed 2>failed
"""


def run_script(fleet: Fleet, engine: Engine, count: int) -> tuple[float, int]:
    """Create stores; return the seconds that took, and how many needed Helm twice."""
    folder = fleet.folder / f"reference-{secrets.token_hex(4)}"
    stores = [_write_store_files(folder, engine) for _ in range(count)]
    script = folder / "store.sh"
    assert engine.kubernetes is not None
    script.write_text(
        _SCRIPT.format(chart=(engine.folder / engine.kubernetes.chart).resolve()), encoding="utf-8"
    )
    began = time.perf_counter()
    subprocess.run(
        ["xargs", f"-P{AT_ONCE}", "-n1", "sh", str(script)],
        env=fleet.environment,
        input="\n".join(map(str, stores)),
        text=True,
        check=True,
        capture_output=True,
        timeout=_SCRIPT_TIMEOUT_S,
    )
    return time.perf_counter() - began, sum((store / "again").exists() for store in stores)


def _write_store_files(folder: Path, engine: Engine) -> Path:
    """Write the files that the script needs for one store."""
    settings = Settings(runtime="kubernetes")
    store = _make_store(engine)
    place = manifests.locate_store(store, settings)
    own = folder / place.namespace
    own.mkdir(parents=True)
    objects = _make_objects(store, engine, place, settings)
    (own / "name").write_text(place.namespace, encoding="ascii")
    (own / "namespace.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    (own / "values.json").write_text(
        json.dumps(manifests.make_chart_values(store, engine, place, settings))
    )
    return own


def _make_objects(
    store: Store, engine: Engine, place: manifests.StoreLocation, settings: Settings
) -> Sequence[dict[str, Any]]:
    """Make the objects that the platform creates before the chart."""
    assert engine.kubernetes is not None
    fresh = {name: secrets.token_urlsafe(36) for name in engine.kubernetes.secrets}
    admin = {
        "username": engine.admin.username.format(host=place.host),
        "password": secrets.token_urlsafe(15),
    }
    return (
        manifests.make_namespace(store, place),
        *manifests.make_role_bindings(store, platform_namespace=settings.platform_namespace),
        *manifests.make_store_network_policies(store, engine, settings),
        *manifests.make_quotas_and_limits(store, engine.kubernetes.plan),
        manifests.make_secret(store, manifests.ADMIN_SECRET, admin),
        manifests.make_secret(store, manifests.STORE_SECRET, fresh),
    )


def _make_store(engine: Engine) -> Store:
    store_id = generate_id(STORE_PREFIX)
    return Store(
        id=store_id,
        tenant_id=generate_id(TENANT_PREFIX),
        name=f"reference-{store_id[4:12]}",
        engine=engine.name,
        engine_version=engine.default_version,
        parameters={},
        state="provisioning",
        url=None,
        admin_url=None,
        failure=None,
        created_at=utc_now(),
        ready_at=None,
        deleted_at=None,
        version=1,
    )
