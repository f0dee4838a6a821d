"""Valid objects of a store's namespace, for tests of permissions."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from storefleet.core.identifiers import STORE_PREFIX, TENANT_PREFIX, generate_id
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.plans import EnginePlan
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.network_policies import make_network_policies

Manifest = dict[str, Any]
PLATFORM_NAMESPACE = "storefleet"
SETTINGS = Settings(runtime="kubernetes")
PLAN = EnginePlan(
    title="Small",
    quota={
        "requests.cpu": "1",
        "requests.memory": "512Mi",
        "limits.cpu": "2",
        "limits.memory": "1Gi",
        "pods": "4",
    },
    jobs={
        "requests.cpu": "1",
        "requests.memory": "512Mi",
        "limits.cpu": "2",
        "limits.memory": "1Gi",
        "pods": "2",
    },
    storage={"persistentvolumeclaims": "2", "requests.storage": "2Gi"},
    limits={
        "default": {"cpu": "500m", "memory": "128Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
        "max": {"cpu": "1", "memory": "512Mi"},
    },
)


class NamespaceObjects:
    """The namespace setup of one store, as the runtime creates it."""

    def __init__(self, name: str, bare: "NamespaceObjects | None" = None) -> None:
        #: Another namespace with role bindings only.
        self.bare = bare or self
        self.store = Store(
            id=generate_id(STORE_PREFIX),
            tenant_id=generate_id(TENANT_PREFIX),
            name=name,
            engine="oscar",
            engine_version="1",
            parameters={},
            state="provisioning",
            url=None,
            admin_url=None,
            failure=None,
            created_at=datetime.now(UTC),
            ready_at=None,
            deleted_at=None,
            version=1,
        )
        self.place = manifests.locate_store(self.store, SETTINGS)
        self.name = self.place.namespace
        self.namespace = manifests.make_namespace(self.store, self.place)
        self.bindings = manifests.make_role_bindings(
            self.store, platform_namespace=PLATFORM_NAMESPACE
        )
        metadata = {"namespace": self.name, "labels": manifests.make_ownership_labels(self.store)}
        self.policies = make_network_policies(
            metadata,
            platform_namespace=PLATFORM_NAMESPACE,
            ingress_namespace=SETTINGS.ingress_namespace,
            allow_internet=True,
        )
        self.limits = manifests.make_quotas_and_limits(self.store, PLAN)
        self.secrets = [
            manifests.make_secret(self.store, name, {"username": "admin", "password": "x"})
            for name in (manifests.ADMIN_SECRET, manifests.STORE_SECRET, manifests.MAIL_SECRET)
        ]

    def object(self, api: str, kind: str, name: str, **content: Any) -> Manifest:
        """Build an object in the namespace."""
        return {
            "apiVersion": api,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.name},
            **content,
        }

    def rule(self, kind: str, name: str) -> Manifest:
        """Copy one of the namespace's quotas, limits or policies."""
        found = (each for each in (*self.policies, *self.limits) if each["kind"] == kind)
        return deepcopy(next(each for each in found if each["metadata"]["name"] == name))

    def service(self, **spec: Any) -> Manifest:
        ports = [{"name": "http", "port": 80}]
        return self.object(
            "v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": ports, **spec}
        )

    def ingress(
        self, *hosts: str | None, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Manifest:
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
        rules = [{**({"host": host} if host else {}), "http": paths} for host in hosts]
        made = self.object(
            "networking.k8s.io/v1",
            "Ingress",
            "web",
            spec={**({"rules": rules} if rules else {}), **spec},
        )
        made["metadata"]["annotations"] = annotations or {}
        return made

    def pod(self, *, pod: dict[str, Any] | None = None, **container: Any) -> Manifest:
        """Build a compliant pod; `pod` and `container` override parts of the specs."""
        secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec = {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {"name": "web", "image": "web:1", "securityContext": secure, **container}
            ],
            **(pod or {}),
        }
        return self.object("v1", "Pod", "web", spec=spec)

    def workload(self, kind: str, **more: Any) -> Manifest:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": self.pod()["spec"]}
        content = {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            **more,
        }
        return self.object("apps/v1", kind, "web", spec=content)

    def job(self) -> Manifest:
        spec = {**self.pod()["spec"], "restartPolicy": "Never"}
        return self.object(
            "batch/v1", "Job", "setup", spec={"suspend": True, "template": {"spec": spec}}
        )

    def cron_job(self, **spec: Any) -> Manifest:
        content = {
            "suspend": True,
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": self.job()["spec"]},
            **spec,
        }
        return self.object("batch/v1", "CronJob", "dump", spec=content)

    def claim(self) -> Manifest:
        storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        return self.object("v1", "PersistentVolumeClaim", "files", spec=storage)


def changed(manifest: Manifest, **metadata: Any) -> Manifest:
    """Copy with changed metadata: None removes a key, a dict is merged."""
    copy = deepcopy(manifest)
    for key, value in metadata.items():
        if isinstance(value, dict):
            merged = {**copy["metadata"].get(key, {}), **value}
            copy["metadata"][key] = {
                name: each for name, each in merged.items() if each is not None
            }
        else:
            copy["metadata"][key] = value
    return copy
