"""Idempotency keys of creations: check a key, find and store the first response to it."""

import hashlib
import json
import re

from storefleet.admission.acceptance import Accepted, Replayed
from storefleet.admission.requests import CreateStore
from storefleet.core.errors import InvalidRequest
from storefleet.core.models import Principal
from storefleet.database.repositories import Repositories

_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


def check_idempotency_key(key: str | None) -> None:
    """Check the form of an idempotency key, if the request has one.

    Args:
        key: The value of the header `Idempotency-Key`.

    Raises:
        InvalidRequest: The key is too long or has other characters than printable ASCII.
    """
    if key is not None and not _KEY_PATTERN.fullmatch(key):
        raise InvalidRequest(
            "The Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.",
            code="idempotency_key_invalid",
        )


async def find_first_response(
    tx: Repositories, principal: Principal, key: str, request: CreateStore
) -> Replayed | None:
    """Find the response to the first request with an idempotency key.

    Args:
        tx: The transaction.
        principal: The principal; keys of other tenants are not found.
        key: The idempotency key.
        request: The request that came with it.

    Returns:
        The first response; None when the key is new.

    Raises:
        InvalidRequest: The key was used for another request.
    """
    first = await tx.idempotency_keys.find_response(scope=_make_scope(principal), key=key)
    if first is None:
        return None
    if first.request_hash != hash_request(request):
        raise InvalidRequest(
            "This Idempotency-Key was used with another body. Choose a new key.",
            code="idempotency_key_reused",
        )
    return Replayed(first.body["store"], first.body["operation"])


async def store_first_response(
    tx: Repositories, principal: Principal, key: str, request: CreateStore, accepted: Accepted
) -> None:
    """Store the response to the first request with an idempotency key.

    Args:
        tx: The transaction in which the request is accepted.
        principal: The principal that sent the request.
        key: The idempotency key.
        request: The request.
        accepted: The result from which the response is made.
    """
    await tx.idempotency_keys.store_response(
        scope=_make_scope(principal),
        key=key,
        request_hash=hash_request(request),
        operation_id=accepted.operation.id,
        body={"store": accepted.store.to_json(), "operation": accepted.operation.to_json()},
    )


def _make_scope(principal: Principal) -> str:
    return f"{principal.tenant_id} POST stores"


def hash_request(request: CreateStore) -> bytes:
    """Hash a request; the order of its parameters does not matter.

    Args:
        request: The request.

    Returns:
        Its SHA-256 hash, 32 bytes.
    """
    return hashlib.sha256(json.dumps(request.to_json(), sort_keys=True).encode()).digest()
