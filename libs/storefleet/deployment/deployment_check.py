"""Check a deployment as a client: readiness, sign-in, API token, event feed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from storefleet.deployment.deployment_error import DeploymentError

_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Base URLs of the services, and the first owner: `email`, `password`, `token`, `tenant`."""

    gateway_url: str
    notifier_url: str
    owner: Mapping[str, str]


async def check_deployment(deployment: Deployment, *, timeout_s: float) -> None:
    """Repeat all checks until they pass.

    Args:
        deployment: The URLs and the first owner.
        timeout_s: The maximum duration in seconds.

    Raises:
        DeploymentError: A check still fails; the text is that of the last failure.
    """
    last_error: DeploymentError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await _check_once(deployment)
                except DeploymentError as error:
                    last_error = error
                    await asyncio.sleep(1)
                else:
                    return
    except TimeoutError:
        raise last_error or DeploymentError(
            f"The services did not answer within {timeout_s:.0f} s."
        ) from None


async def _check_once(deployment: Deployment) -> None:
    try:
        async with aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as session:
            await _check_readiness(session, deployment)
            await _check_sign_in(session, deployment)
            await _check_token(session, deployment)
            await _check_event_feed(session, deployment)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DeploymentError(f"No response: {type(error).__name__}: {error}") from None


async def _check_readiness(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    for base in (deployment.gateway_url, deployment.notifier_url):
        async with session.get(f"{base}/readyz") as response:
            _require_status(response, 200, f"{base}/readyz: {(await response.text())[:300]}")


async def _check_sign_in(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    """Sign in with the form, as a person does."""
    form = {name: deployment.owner[name] for name in ("email", "password")}
    async with session.post(
        f"{deployment.gateway_url}/login", data=form, allow_redirects=False
    ) as response:
        _require_status(response, 303, "The first owner cannot sign in with the form")
        if not response.cookies:
            raise DeploymentError("The sign-in returned no session cookie.")


async def _check_token(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    async with session.get(
        f"{deployment.gateway_url}/api/v1/me", headers=_make_authorization(deployment)
    ) as response:
        _require_status(response, 200, "The API rejects the first owner's token")
        principal: dict[str, Any] = await response.json()
    if deployment.owner["tenant"] not in str(principal):
        raise DeploymentError(
            "The token of the first owner belongs to another tenant than the secret says."
        )


async def _check_event_feed(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    url = f"{deployment.notifier_url}/api/v1/events"
    async with session.ws_connect(url, headers=_make_authorization(deployment)) as websocket:
        if websocket.closed:
            raise DeploymentError("The event websocket was closed immediately.")


def _make_authorization(deployment: Deployment) -> dict[str, str]:
    return {"Authorization": f"Bearer {deployment.owner['token']}"}


def _require_status(response: aiohttp.ClientResponse, status: int, failure: str) -> None:
    if response.status != status:
        raise DeploymentError(f"{failure}: status {response.status}.")
