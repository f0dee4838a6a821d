"""Whether a deployment works, seen as a caller sees it: ready, signs in, answers the token, opens the live feed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from storefleet.deployment.deployment_error import DeploymentError

_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where it answers (base addresses), and the first sign-in: `email, password, token, tenant`."""

    gateway_url: str
    notifier_url: str
    owner: Mapping[str, str]


async def check_deployment(deployment: Deployment, *, timeout_s: float) -> None:
    """Try until all of it works; raises DeploymentError that says what does not."""
    last: DeploymentError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await _check_once(deployment)
                except DeploymentError as error:
                    last = error
                    await asyncio.sleep(1)
                else:
                    return
    except TimeoutError:
        raise last or DeploymentError(f"Nothing answered within {timeout_s:.0f} s.") from None


async def _check_once(deployment: Deployment) -> None:
    try:
        async with aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as session:
            await _check_readiness(session, deployment)
            await _check_sign_in(session, deployment)
            await _check_token(session, deployment)
            await _check_event_feed(session, deployment)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DeploymentError(f"No answer: {type(error).__name__}: {error}") from None


async def _check_readiness(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    for base in (deployment.gateway_url, deployment.notifier_url):
        async with session.get(f"{base}/readyz") as answer:
            _require_status(answer, 200, f"{base}/readyz: {(await answer.text())[:300]}")


async def _check_sign_in(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    """As a person does, by the form."""
    form = {name: deployment.owner[name] for name in ("email", "password")}
    async with session.post(
        f"{deployment.gateway_url}/login", data=form, allow_redirects=False
    ) as answer:
        _require_status(answer, 303, "The form does not sign the first owner in")
        if not answer.cookies:
            raise DeploymentError("Signing in gave no session.")


async def _check_token(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    async with session.get(
        f"{deployment.gateway_url}/api/v1/me", headers=_make_authorization(deployment)
    ) as answer:
        _require_status(answer, 200, "The API does not know the first owner's token")
        me: dict[str, Any] = await answer.json()
    if deployment.owner["tenant"] not in str(me):
        raise DeploymentError(
            "The API knows the token, but as another tenant's than the secret says."
        )


async def _check_event_feed(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    address = f"{deployment.notifier_url}/api/v1/events"
    async with session.ws_connect(address, headers=_make_authorization(deployment)) as socket:
        if socket.closed:
            raise DeploymentError("The live feed closed at once.")


def _make_authorization(deployment: Deployment) -> dict[str, str]:
    return {"Authorization": f"Bearer {deployment.owner['token']}"}


def _require_status(response: aiohttp.ClientResponse, status: int, failure: str) -> None:
    if response.status != status:
        raise DeploymentError(f"{failure}: status {response.status}.")
