"""Check version changes: read the baseline before a change, and compare the store after it.

Shared by the runtimes whose stores change their version. A store belongs to its owner, so a change
asks for nothing but what the store answered right before it.
"""

import asyncio
import time

from storefleet.core.errors import PermanentError, TransientError
from storefleet.core.observed import StorefrontClass
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.protocol import StepContext, StepResult
from storefleet.runtimes.storefront_check import StorefrontCheck
from storefleet.runtimes.storefront_observation import (
    StorefrontObservation,
    carry_over_baseline,
    list_regressions,
)

#: A pod that is being replaced, or a Service without endpoints, answers again within this time.
_BASELINE_TIMEOUT_S = 8.0
_RETRY_INTERVAL_S = 0.5


class ChangeCheck:
    """Reads baselines and compares with them."""

    def __init__(self, storefront_check: StorefrontCheck) -> None:
        self._storefront_check = storefront_check

    async def read_baseline(
        self, context: StepContext, engine: Engine, *, server: str, host: str
    ) -> StepResult:
        """Read the baseline of a version change, before its first effect.

        A retry keeps the baseline of the operation that failed. A rollback that restores a dump
        returns to the content of that time: it compares with the baseline of that time, or with
        the present results of the checks only.

        Args:
            context: The step's store and operation.
            engine: The store's engine.
            server: Where to connect, `http://address:port`; empty for a store without an address.
            host: The `Host` header.

        Returns:
            A result with the baseline.
        """
        is_restore = context.change is not None and context.change.restore
        if context.baseline is not None and is_restore:
            return StepResult("The baseline of the time of the dump is kept", baseline=None)
        observation = await self._observe_settled(context, engine, server=server, host=host)
        if context.baseline is not None:
            baseline = carry_over_baseline(context.baseline, observation)
            message = "The store is compared with the baseline of the failed operation"
            return StepResult(message, baseline=baseline)
        if is_restore:
            observation = observation.without_pages()
        message = observation.summary
        if not observation.is_comparable:
            message += ". Nothing will be compared"
        return StepResult(message, baseline=observation)

    async def verify_change(
        self,
        context: StepContext,
        engine: Engine,
        *,
        server: str,
        host: str,
        timeout_s: float,
        is_proven_code: bool = False,
    ) -> str:
        """Wait until the store answers as before the change.

        Args:
            context: The step's store and operation, with its baseline.
            engine: The store's engine.
            server: Where to connect, `http://address:port`; empty for a store without an address.
            host: The `Host` header.
            timeout_s: Seconds to wait.
            is_proven_code: Whether the version served this store before the change.

        Returns:
            What the store answers, as a sentence.

        Raises:
            TransientError: `store_not_answering`, with what answered before and does not now.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            observation = await self._observe(context, engine, server=server, host=host)
            baseline = context.baseline
            if baseline is None:
                return f"{observation.summary}. It was not compared: there is no baseline"
            if not baseline.is_comparable:
                return f"{observation.summary}. It was not compared: it was down before"
            regressions = list_regressions(baseline, observation, is_proven_code=is_proven_code)
            if not regressions:
                return f"The store answers as before. {observation.summary}"
            if time.monotonic() > deadline:
                raise TransientError(
                    "store_not_answering",
                    " ".join(regressions),
                    next_step="Read the store's log, then retry.",
                )
            await context.report_progress(f"Waiting for the store: {regressions[0]}")
            await asyncio.sleep(_RETRY_INTERVAL_S)

    async def _observe_settled(
        self, context: StepContext, engine: Engine, *, server: str, host: str
    ) -> StorefrontObservation:
        """Observe the store; while it is down, again for some seconds."""
        deadline = time.monotonic() + _BASELINE_TIMEOUT_S
        while True:
            observation = await self._observe(context, engine, server=server, host=host)
            if observation.storefront is not StorefrontClass.DOWN or time.monotonic() > deadline:
                return observation
            await context.report_progress(f"{observation.summary}. Looking again")
            await asyncio.sleep(_RETRY_INTERVAL_S)

    async def _observe(
        self, context: StepContext, engine: Engine, *, server: str, host: str
    ) -> StorefrontObservation:
        if not server:
            return StorefrontObservation(
                storefront=StorefrontClass.DOWN, storefront_text="has no address"
            )
        request_id = context.request_id or context.operation_id
        return await self._storefront_check.observe(
            engine, server=server, host=host, request_id=request_id
        )


def make_final(error: TransientError) -> PermanentError:
    """Make a failed comparison final: it is not retried while customers see the failure."""
    return PermanentError(error.code, error.detail, next_step=error.next_step)
