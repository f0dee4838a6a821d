"""Whether a deployment works, seen as a caller sees it: ready, signs in, answers the token, opens the live feed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from storefleet.deployment.deployment_error import DeploymentError

_PATIENCE = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where it answers (base addresses), and the first sign-in: `email, password, token, tenant`."""

    gateway: str
    notifier: str
    owner: Mapping[str, str]


async def check(deployment: Deployment, *, patience: float) -> None:
    """Try until all of it works; raises DeploymentError that says what does not."""
    last: DeploymentError | None = None
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    await _once(deployment)
                except DeploymentError as error:
                    last = error
                    await asyncio.sleep(1)
                else:
                    return
    except TimeoutError:
        raise last or DeploymentError(f"Nothing answered within {patience:.0f} s.") from None


async def _once(deployment: Deployment) -> None:
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
            await _ready(session, deployment)
            await _sign_in(session, deployment)
            await _token(session, deployment)
            await _listen(session, deployment)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DeploymentError(f"No answer: {type(error).__name__}: {error}") from None


async def _ready(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    for base in (deployment.gateway, deployment.notifier):
        async with session.get(f"{base}/readyz") as answer:
            _expect(answer, 200, f"{base}/readyz: {(await answer.text())[:300]}")


async def _sign_in(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    """As a person does, by the form."""
    form = {name: deployment.owner[name] for name in ("email", "password")}
    async with session.post(
        f"{deployment.gateway}/login", data=form, allow_redirects=False
    ) as answer:
        _expect(answer, 303, "The form does not sign the first owner in")
        if not answer.cookies:
            raise DeploymentError("Signing in gave no session.")


async def _token(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    async with session.get(
        f"{deployment.gateway}/api/v1/me", headers=_bearer(deployment)
    ) as answer:
        _expect(answer, 200, "The API does not know the first owner's token")
        me: dict[str, Any] = await answer.json()
    if deployment.owner["tenant"] not in str(me):
        raise DeploymentError(
            "The API knows the token, but as another tenant's than the secret says."
        )


async def _listen(session: aiohttp.ClientSession, deployment: Deployment) -> None:
    address = f"{deployment.notifier}/api/v1/events"
    async with session.ws_connect(address, headers=_bearer(deployment)) as socket:
        if socket.closed:
            raise DeploymentError("The live feed closed at once.")


def _bearer(deployment: Deployment) -> dict[str, str]:
    return {"Authorization": f"Bearer {deployment.owner['token']}"}


def _expect(answer: aiohttp.ClientResponse, status: int, what: str) -> None:
    if answer.status != status:
        raise DeploymentError(f"{what}: status {answer.status}.")
