"""Where a deployment's secrets are kept: Secrets of the pod's own namespace, or a folder of files.

Both implement `SecretStore` of `storefleet.deployment.secrets`.
"""

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
from storefleet.node.private_files import create_folder, write_file

_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REQUEST_TIMEOUT_S = 15


class KubernetesSecretStore:
    """Keeps secrets as Secrets of one namespace.

    The service account needs `get` and `create`; `delete` is needed only to delete them.

    Args:
        api: The client of the Kubernetes API.
        namespace: The namespace.
    """

    def __init__(self, api: client.CoreV1Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self, name: str) -> SecretContent | None:
        """Return the values by key; None if the secret does not exist."""
        try:
            with _translate_api_errors(name):
                found = await self._api.read_namespaced_secret(
                    name, self._namespace, _request_timeout=_REQUEST_TIMEOUT_S
                )
        except _SecretMissing:
            return None
        return {key: b64decode(value).decode() for key, value in (found.data or {}).items()}

    async def create(self, name: str, content: SecretContent) -> None:
        """Create the secret; an existing one is kept."""
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
        """Delete the secret if it exists."""
        with contextlib.suppress(_SecretMissing), _translate_api_errors(name):
            await self._api.delete_namespaced_secret(
                name, self._namespace, _request_timeout=_REQUEST_TIMEOUT_S
            )


@contextlib.asynccontextmanager
async def open_kubernetes_secret_store() -> AsyncIterator[KubernetesSecretStore]:
    """Open the secret store of the pod's own namespace.

    Yields:
        The secret store.

    Raises:
        DeploymentError: The process does not run in a pod with a service account.
    """
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        namespace = await asyncio.to_thread((_ACCOUNT_FOLDER / "namespace").read_text, "ascii")
    except (ConfigException, OSError) as error:
        raise DeploymentError(
            f"This process does not run in a pod with a service account ({error}). In a cluster, "
            "a hook of the chart runs this command; elsewhere, use --folder to keep the secrets in "
            "files."
        ) from None
    async with client.ApiClient() as connection:
        yield KubernetesSecretStore(client.CoreV1Api(connection), namespace.strip())


class FolderSecretStore:
    """Keeps secrets as one folder per secret and one private file per key, like mounted Secrets.

    Args:
        folder: The parent folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, name: str) -> SecretContent | None:
        """Return the values by key; None if the secret does not exist."""
        folder = self._folder / name
        if not folder.is_dir():
            return None
        return {
            path.name: path.read_text(encoding="utf-8")
            for path in folder.iterdir()
            if path.is_file()
        }

    async def create(self, name: str, content: SecretContent) -> None:
        """Create the secret beside its place, then rename it: half a secret is never visible."""
        temporary = self._folder / f".{name}.new"
        shutil.rmtree(temporary, ignore_errors=True)
        create_folder(temporary)
        for key, value in content.items():
            write_file(temporary / key, value)
        temporary.rename(self._folder / name)

    async def delete(self, name: str) -> None:
        """Delete the secret if it exists."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def write_service_settings(self, settings: Mapping[str, SecretContent]) -> None:
        """Write one folder of settings per NATS user, to be mounted as STOREFLEET_SECRETS_DIR.

        Args:
            settings: Secret settings by user; empty deletes all folders.
        """
        if not settings:
            shutil.rmtree(self._folder / "services", ignore_errors=True)
        for user, content in settings.items():
            folder = create_folder(create_folder(self._folder / "services") / user)
            for setting, value in content.items():
                write_file(folder / f"{ENVIRONMENT_PREFIX.lower()}{setting}", value)


class _SecretMissing(Exception):
    """The API answered 404; this exception does not leave the module."""


class _SecretExists(Exception):
    """The API answered 409; this exception does not leave the module."""


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
            f"The cluster rejects the request for the secret {name}: {error.status} "
            f"{error.reason}. Allow the pod's service account to create and get Secrets in its "
            "namespace."
        ) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DeploymentError(
            f"The Kubernetes API does not answer ({type(error).__name__}: {error}). The Job "
            "restarts automatically."
        ) from None
