"""Identifiers: a prefix that names the type of object, and 16 random characters of [a-z0-9]."""

import re
import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
RANDOM_LENGTH = 16

STORE_PREFIX = "sto"
OPERATION_PREFIX = "op"
EVENT_PREFIX = "evt"
COMMAND_PREFIX = "cmd"
TENANT_PREFIX = "ten"
USER_PREFIX = "usr"
TOKEN_PREFIX = "tok"
DEAD_LETTER_PREFIX = "dl"

_ID_PATTERN = re.compile(r"(sto|op|evt|cmd|ten|usr|tok|dl)_[a-z0-9]{16}")


def generate_id(prefix: str) -> str:
    """Generate a random identifier such as `sto_…`, with 82 bits of randomness."""
    number = secrets.randbelow(len(ALPHABET) ** RANDOM_LENGTH)
    characters = []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{prefix}_{''.join(characters)}"


def is_id(value: str, prefix: str) -> bool:
    """Return whether a value has the format of an identifier with this prefix."""
    return value.startswith(f"{prefix}_") and _ID_PATTERN.fullmatch(value) is not None


def make_resource_name(store_id: str) -> str:
    """Make the name of a store's resources: its namespace, database and role (`st-…`)."""
    return "st-" + store_id.removeprefix(f"{STORE_PREFIX}_")
