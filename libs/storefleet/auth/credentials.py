"""Random secrets of sessions and API tokens, and the hashes that are stored of them."""

import hashlib
import secrets

_TOKEN_MARK = "sft_"
_MAX_TOKEN_LENGTH = 100

#: The first characters of a token, which are stored and shown so that people can tell tokens apart.
TOKEN_PREFIX_LENGTH = 8


def hash_secret(secret: str) -> bytes:
    """Hash a random secret for storage; it has enough entropy for SHA-256 without salt."""
    return hashlib.sha256(secret.encode()).digest()


def generate_token() -> str:
    """Generate the secret of an API token: 256 random bits after a recognizable prefix."""
    return _TOKEN_MARK + secrets.token_urlsafe(32)


def is_token_shaped(text: str) -> bool:
    """Return whether a text can be an API token at all; saves a query for anything else."""
    return text.startswith(_TOKEN_MARK) and len(text) <= _MAX_TOKEN_LENGTH and text.isascii()
