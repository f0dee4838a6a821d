"""Identifiers: a prefix that names the kind, and sixteen characters of [a-z0-9]."""

import re
import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
LENGTH = 16

STORE = "sto"
OPERATION = "op"
EVENT = "evt"
COMMAND = "cmd"
TENANT = "ten"
USER = "usr"
TOKEN = "tok"
DEAD_LETTER = "dl"

_SHAPE = re.compile(r"(sto|op|evt|cmd|ten|usr|tok|dl)_[a-z0-9]{16}")


def new_id(kind: str) -> str:
    """A fresh random identifier, 82 bits behind the prefix."""
    number = secrets.randbelow(len(ALPHABET) ** LENGTH)
    characters = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{kind}_{''.join(characters)}"


def is_id(value: str, kind: str) -> bool:
    return value.startswith(f"{kind}_") and _SHAPE.fullmatch(value) is not None


def resource_name(store_id: str) -> str:
    """The name of everything a store owns outside the database's rows (database, role; later the namespace)."""
    return "st-" + store_id.removeprefix(f"{STORE}_")
