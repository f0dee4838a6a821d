"""Permissions of each service account on a real API server: attacks, and regular work.

No service runs: the tests apply the chart's roles and policies and send requests as the accounts.
Attacks are dry runs, which pass through all admission checks and change nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.cluster.api_access import (
    Api,
    Reply,
    get_collection_path,
    get_object_path,
    open_api_server,
)
from tests.support.cluster.attacks.calls import (
    ADMINISTRATOR,
    FOREIGN,
    GATEWAY,
    PROVISIONER,
    RBAC,
    REAPER,
    Attack,
    create,
    delete,
    namespace,
    within,
)
from tests.support.cluster.attacks.namespace_setup import (
    PLATFORM_NAMESPACE,
    Manifest,
    NamespaceObjects,
)
from tests.support.cluster.attacks.namespaces import ON_NAMESPACES
from tests.support.cluster.attacks.rights import ON_RIGHTS
from tests.support.cluster.attacks.rules import ON_RULES
from tests.support.cluster.attacks.secrets import ON_SECRETS
from tests.support.cluster.attacks.service_exposure import ON_DOORS
from tests.support.cluster.charts import render_objects
from tests.support.services.polling import eventually

ATTACKS = [*ON_NAMESPACES, *ON_RIGHTS, *ON_SECRETS, *ON_RULES, *ON_DOORS]
REFUSALS = (403, 405, 409, 422)


class Stage:
    """The chart's permissions, and a store's namespace that the provisioner's account set up."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.bare = NamespaceObjects("bare")
        self.ground = NamespaceObjects("acme", self.bare)
        self._made: list[str] = []

    async def set_up(self) -> None:
        await self._permissions()
        await self.insist(await self.api.apply({**make_object("Namespace", FOREIGN)}))
        for ground in (self.ground, self.bare):
            await self.as_provisioner(ground.namespace)
            for binding in ground.bindings:
                await self.as_provisioner(binding)
        for rule in (*self.ground.policies, *self.ground.limits):
            await self._settled(rule)
        await self._counted()
        for secret in self.ground.secrets:
            await self.insist(await self.api.ask(*create(secret), as_=PROVISIONER))

    async def tear_down(self) -> None:
        for ground in (self.ground, self.bare):
            await self.api.ask(*delete(namespace(ground.name)))
        for path in (namespace(FOREIGN), *reversed(self._made)):
            await self.api.ask(*delete(path))

    async def _permissions(self) -> None:
        """Apply the chart's permissions, or check that those of a deployment are the same."""
        await self.insist(
            await self.api.apply(make_object("Namespace", PLATFORM_NAMESPACE), manager="tests")
        )
        templates = ("templates/permissions.yaml", "templates/admission.yaml")
        for manifest in render_objects(
            files=("values-local.yaml",), namespace=PLATFORM_NAMESPACE, templates=templates
        ):
            found = await self.api.ask("GET", get_object_path(manifest))
            if found.ok:
                assert get_shape(found.body) == get_shape(manifest), (
                    f"{get_object_path(manifest)} is not this chart's: make deploy"
                )
                continue
            self._made.append(get_object_path(manifest))
            await self.insist(await self.api.apply(manifest, manager="tests"))
        # A policy takes effect a moment after its creation; attacks are meaningless before that.
        probe = create(NamespaceObjects("probe").namespace | {"metadata": {"name": "not-a-store"}})
        await eventually(lambda: self._refused(probe, "must be st-"), within=30, every=0.3)
        await eventually(
            lambda: self._refused(delete(namespace(PLATFORM_NAMESPACE)), "only a store", REAPER),
            within=30,
        )

    async def _refused(self, call: Any, words: str, who: str = PROVISIONER) -> bool:
        return words in (await self.api.ask(*call, as_=who, dry=True)).message

    async def as_provisioner(self, manifest: Manifest) -> None:
        await self.insist(await self.api.apply(manifest, as_=PROVISIONER))

    async def _settled(self, manifest: Manifest) -> None:
        """Apply with retries: a role binding takes effect a moment after its creation."""

        async def done() -> bool:
            last.append(await self.api.apply(manifest, as_=PROVISIONER))
            return last[-1].ok

        last: list[Reply] = []
        try:
            await eventually(done, within=10, every=0.2)
        except AssertionError:
            raise AssertionError(last[-1]) from None

    async def _counted(self) -> None:
        """Wait until the quotas are counted; before that they reject everything, also attacks."""

        async def done() -> bool:
            found = await self.api.ask("GET", within(self.ground, "resourcequotas"))
            return all("used" in each.get("status", {}) for each in found.body["items"])

        await eventually(done, within=30, every=0.2)

    async def insist(self, reply: Reply) -> None:
        assert reply.ok, reply


def get_shape(manifest: Manifest) -> Any:
    """Reduce a manifest to the parts that do not depend on the chart's values."""
    validations = manifest.get("spec", {}).get("validations", [])
    return manifest.get("rules"), manifest.get("roleRef"), len(validations)


def make_object(kind: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    async with open_api_server() as api:
        made = Stage(api)
        try:
            await made.set_up()
            yield made
        finally:
            await made.tear_down()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.title.replace(" ", "-"))
async def test_attack_is_rejected(stage: Stage, attack: Attack) -> None:
    call = attack.call(stage.ground)
    reply = await stage.api.ask(*call, as_=attack.who, dry=call.method != "GET", merge=attack.merge)
    assert reply.status in REFUSALS, reply
    assert attack.refusal in reply.message, reply.message
    assert "no such key" not in reply.message, "the policy could not be evaluated"


def test_attack_titles_are_unique() -> None:
    titles = [attack.title for attack in ATTACKS]
    assert sorted(set(titles)) == sorted(titles)


async def test_repeated_namespace_setup_changes_nothing(stage: Stage) -> None:
    ground = stage.ground
    everything = [ground.namespace, *ground.bindings, *ground.policies, *ground.limits]
    before = [
        (await stage.api.ask("GET", get_object_path(each))).body["metadata"]["resourceVersion"]
        for each in everything
    ]
    for each in everything:
        await stage.as_provisioner(each)
    after = [
        (await stage.api.ask("GET", get_object_path(each))).body["metadata"]["resourceVersion"]
        for each in everything
    ]
    # the cluster may have updated the quotas' counts in between
    kept = [
        one == two
        for one, two, each in zip(before, after, everything, strict=False)
        if "quota" not in get_object_path(each)
    ]
    assert all(kept)


async def test_provisioner_can_create_objects_of_a_store(stage: Stage) -> None:
    ground, api = stage.ground, stage.api
    release = ground.object(
        "v1",
        "Secret",
        "sh.helm.release.v1.store.v1",
        type="helm.sh/release.v1",
        stringData={"a": "b"},
    )
    objects = [
        *(
            release,
            ground.object("v1", "ConfigMap", "store", data={"a": "b"}),
            ground.service(),
            ground.claim(),
        ),
        *(
            ground.workload("Deployment"),
            ground.workload("StatefulSet", serviceName="web"),
            ground.job(),
        ),
        ground.cron_job(),
        ground.ingress(ground.place.host, tls=[{"hosts": [ground.place.host]}]),
    ]
    for each in objects:
        await stage.insist(await api.ask(*create(each), as_=PROVISIONER))
        await stage.insist(await api.apply(each, as_=PROVISIONER, manager="helm"))
        await stage.insist(await api.ask("GET", get_object_path(each), as_=PROVISIONER))
        await stage.insist(await api.ask("GET", get_collection_path(each), as_=PROVISIONER))
    for each in objects:
        await stage.insist(await api.ask(*delete(get_object_path(each)), as_=PROVISIONER))
    await stage.insist(await api.ask("GET", within(ground, "events"), as_=PROVISIONER))
    await stage.insist(await api.ask("GET", get_object_path(ground.secrets[1]), as_=PROVISIONER))
    # a pod that does not exist: the request is permitted
    for path, method in (("pods/none/log", "GET"), ("pods/none", "DELETE"), ("pods/none", "GET")):
        assert (await api.ask(method, within(ground, path), as_=PROVISIONER)).status == 404


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"/api/v1/{kind}"
            for kind in ("namespaces", "pods", "services", "persistentvolumeclaims", "events")
        ),
        *(f"/apis/apps/v1/{kind}" for kind in ("deployments", "statefulsets", "replicasets")),
        *("/apis/batch/v1/jobs", "/version", "/readyz"),
    ],
)
async def test_provisioner_can_list_and_watch_cluster(stage: Stage, path: str) -> None:
    query = {"labelSelector": "storefleet.dev/store"} if path.startswith("/api") else {}
    await stage.insist(await stage.api.ask("GET", path, as_=PROVISIONER, **query))
    if query:
        watch = {**query, "watch": "true", "timeoutSeconds": "1"}
        await stage.insist(await stage.api.ask("GET", path, as_=PROVISIONER, **watch))


async def test_gateway_can_read_credentials_logs_and_usage(stage: Stage) -> None:
    ground, api = stage.ground, stage.api
    admin, _others, mail = ground.secrets
    for secret in (admin, mail):
        await stage.insist(await api.ask("GET", get_object_path(secret), as_=GATEWAY))
    await stage.insist(
        await api.ask(
            "GET", within(ground, "pods"), as_=GATEWAY, labelSelector="storefleet.dev/store"
        )
    )
    assert (await api.ask("GET", within(ground, "pods/none/log"), as_=GATEWAY)).status == 404
    used = await api.ask("GET", within(ground, "resourcequotas"), as_=GATEWAY)
    await stage.insist(used)
    assert {each["metadata"]["name"] for each in used.body["items"]} == {"store", "jobs", "objects"}


async def test_compliant_pod_is_admitted(stage: Stage) -> None:
    await stage.insist(
        await stage.api.ask(*create(stage.ground.pod()), as_=ADMINISTRATOR, dry=True)
    )


async def test_quota_controller_can_update_status(stage: Stage) -> None:
    """The quota controller writes counts that the provisioner may not change."""
    ground = NamespaceObjects("counted")
    made = [ground.namespace, ground.bindings[0]]
    for each in made:
        await stage.as_provisioner(each)
    await stage._settled(ground.limits[0])

    async def counted() -> bool:
        found = await stage.api.ask("GET", get_object_path(ground.limits[0]))
        return "used" in found.body.get("status", {})

    await eventually(counted, within=20, every=0.2)
    await delete_as_reaper(stage, ground)


async def test_reaper_deletes_namespace_with_uid_precondition(stage: Stage) -> None:
    ground = NamespaceObjects("short")
    for each in (ground.namespace, *ground.bindings):
        await stage.as_provisioner(each)
    for each in (*ground.policies, *ground.limits):
        await stage._settled(each)
    await stage.insist(
        await stage.api.ask(
            *create(ground.claim() | {"spec": ground.claim()["spec"]}), as_=ADMINISTRATOR
        )
    )
    await delete_as_reaper(stage, ground)


async def delete_as_reaper(stage: Stage, ground: NamespaceObjects) -> None:
    api = stage.api
    found = await api.ask("GET", namespace(ground.name), as_=REAPER)
    uid = found.body["metadata"]["uid"]
    await stage.insist(
        await api.ask(*delete(namespace(ground.name), preconditions={"uid": uid}), as_=REAPER)
    )
    for kind in (
        "/api/v1 pods",
        "/api/v1 persistentvolumeclaims",
        "/apis/apps/v1 deployments",
        "/apis/batch/v1 jobs",
    ):
        root, _, plural = kind.partition(" ")
        reply = await api.ask(*delete(within(ground, plural, root)), as_=REAPER)
        # the permission ends when the namespace's role binding is deleted
        assert reply.ok or reply.status in (403, 404), reply
    await eventually(lambda: is_gone(api, ground), within=60, every=0.3)


async def is_gone(api: Api, ground: NamespaceObjects) -> bool:
    return (await api.ask("GET", namespace(ground.name), as_=REAPER)).status == 404


async def test_reaper_can_delete_objects_of_namespace(stage: Stage) -> None:
    for root, plural in (
        *(("/api/v1", kind) for kind in ("pods", "persistentvolumeclaims")),
        *(("/apis/apps/v1", kind) for kind in ("deployments", "statefulsets")),
        ("/apis/batch/v1", "jobs"),
    ):
        await stage.insist(
            await stage.api.ask(*delete(within(stage.ground, plural, root)), as_=REAPER, dry=True)
        )


@pytest.mark.parametrize(
    "path",
    [
        *("/api/v1/namespaces", "/api/v1/persistentvolumes", "/version", "/readyz"),
        *(f"/apis/{RBAC}/{kind}" for kind in ("clusterroles", "clusterrolebindings")),
    ],
)
async def test_reaper_can_list_leftovers(stage: Stage, path: str) -> None:
    await stage.insist(await stage.api.ask("GET", path, as_=REAPER))


async def test_policies_have_no_expression_warnings(stage: Stage) -> None:
    """The API server type-checks the expressions and reports invalid ones as warnings."""

    async def looked() -> bool:
        found = await stage.api.ask(
            "GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
        )
        ours = [
            each
            for each in found.body["items"]
            if each["metadata"]["name"].startswith("storefleet-")
        ]
        checked.extend(each.get("status", {}) for each in ours)
        return len(ours) >= 9 and all("typeChecking" in each.get("status", {}) for each in ours)

    checked: list[dict[str, Any]] = []
    await eventually(looked, within=30, every=0.5)
    warnings = [
        each
        for status in checked
        for each in status.get("typeChecking", {}).get("expressionWarnings", [])
    ]
    assert warnings == []
    await asyncio.sleep(0)
