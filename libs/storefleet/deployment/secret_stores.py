"""Where secrets are kept: Secrets of the namespace this runs in, or a folder of files."""

import asyncio
import contextlib
import shutil
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config import ConfigException

from storefleet.core.settings import ENVIRONMENT_PREFIX
from storefleet.deployment.deployment_error import DeploymentError
from storefleet.deployment.secrets import SecretContent
from storefleet.node.private_files import make_folder, write_file

_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REQUEST_TIMEOUT_S = 15  # seconds for one request


class KubernetesSecretStore:
    """Secrets of one namespace; the account needs to create and get them, and no more."""

    def __init__(self, api: client.CoreV1Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self, name: str) -> SecretContent | None:
        try:
            with _translate_api_errors(name):
                found = await self._api.read_namespaced_secret(
                    name, self._namespace, _request_timeout=_REQUEST_TIMEOUT_S
                )
        except _SecretMissing:
            return None
        return {key: b64decode(value).decode() for key, value in (found.data or {}).items()}

    async def create(self, name: str, content: SecretContent) -> None:
        labels = {"app.kubernetes.io/name": "storefleet", "app.kubernetes.io/component": "secrets"}
        secret = client.V1Secret(
            metadata=client.V1ObjectMeta(name=name, labels=labels),
            string_data=dict(content),
            type="Opaque",
        )
        with contextlib.suppress(_SecretExists), _translate_api_errors(name):
            await self._api.create_namespaced_secret(
                self._namespace, secret, _request_timeout=_REQUEST_TIMEOUT_S
            )

    async def delete(self, name: str) -> None:
        with contextlib.suppress(_SecretMissing), _translate_api_errors(name):
            await self._api.delete_namespaced_secret(
                name, self._namespace, _request_timeout=_REQUEST_TIMEOUT_S
            )


@contextlib.asynccontextmanager
async def open_kubernetes_secret_store() -> AsyncIterator[KubernetesSecretStore]:
    """The vault of the pod's own namespace; raises DeploymentError outside of a pod."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        namespace = await asyncio.to_thread((_ACCOUNT_FOLDER / "namespace").read_text, "ascii")
    except (ConfigException, OSError) as error:
        raise DeploymentError(
            f"This is no pod with a service account ({error}): inside a cluster the chart's hook runs this; "
            "elsewhere name a folder for the secrets with --folder."
        ) from None
    async with client.ApiClient() as connection:
        yield KubernetesSecretStore(client.CoreV1Api(connection), namespace.strip())


class FolderSecretStore:
    """One folder per secret and one private file per key, as a pod would see them mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, name: str) -> SecretContent | None:
        folder = self._folder / name
        if not folder.is_dir():
            return None
        return {
            path.name: path.read_text(encoding="utf-8")
            for path in folder.iterdir()
            if path.is_file()
        }

    async def create(self, name: str, content: SecretContent) -> None:
        """Beside its place first, so that half a secret is never found."""
        fresh = self._folder / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        make_folder(fresh)
        for key, value in content.items():
            write_file(fresh / key, value)
        fresh.rename(self._folder / name)

    async def delete(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def write_service_settings(self, settings: Mapping[str, SecretContent]) -> None:
        """Give each user a folder with its settings, as STOREFLEET_SECRETS_DIR wants it, to be mounted alone."""
        if not settings:
            shutil.rmtree(self._folder / "services", ignore_errors=True)
        for user, content in settings.items():
            folder = make_folder(make_folder(self._folder / "services") / user)
            for setting, value in content.items():
                write_file(folder / f"{ENVIRONMENT_PREFIX.lower()}{setting}", value)


class _SecretMissing(Exception):
    """The API's answer 404; it never leaves this module."""


class _SecretExists(Exception):
    """409, likewise."""


@contextlib.contextmanager
def _translate_api_errors(name: str) -> Iterator[None]:
    try:
        yield
    except client.ApiException as error:
        if error.status == 404:
            raise _SecretMissing from None
        if error.status == 409:
            raise _SecretExists from None
        raise DeploymentError(
            f"The cluster refuses the secret {name}: {error.status} {error.reason}. The account of this pod has to be "
            "allowed to create and get Secrets of its namespace."
        ) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DeploymentError(
            f"The cluster does not answer ({type(error).__name__}: {error}); the job is started again by itself."
        ) from None
