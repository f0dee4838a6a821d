"""Ids that a person types: say what is wrong with one before it is sent."""

from storefleet.cli.cli_errors import UsageError

_KINDS_BY_PREFIX = {"sto": "store", "op": "operation", "dl": "dead letter", "tok": "token"}
_GROUPS_BY_PREFIX = {
    "sto": "stores get",
    "op": "operations get",
    "dl": "dead-letters show",
    "tok": "tokens list",
}


def check_id(text: str, prefix: str) -> None:
    """Check that a typed text is the id of the wanted kind, before it is sent.

    Args:
        text: The id as typed.
        prefix: The prefix of the ids of this kind, such as `op`.

    Raises:
        UsageError: It is not; the error says what it is, as far as its form tells.
    """
    kind = _KINDS_BY_PREFIX[prefix]
    check_kind(text, prefix)
    if not text.startswith(f"{prefix}_"):
        noun = _GROUPS_BY_PREFIX[prefix].partition(" ")[0]
        by_store = f"storefleet {noun} list --store {text}, if it is a store; else "
        raise UsageError(
            f"“{text[:60]}” is not the id of {_add_article(kind)}: those begin with {prefix}_."
            if text
            else f"The id of {_add_article(kind)} is missing.",
            next_step=f"{by_store if prefix == 'op' and text else ''}storefleet {noun} list",
        )


def check_kind(text: str, prefix: str) -> None:
    """Check that a typed text is not the id of another kind; names of stores have no underscore.

    Raises:
        UsageError: It is; the error names its kind and the command for it.
    """
    actual = text.partition("_")[0] if "_" in text else prefix
    if actual != prefix and actual in _KINDS_BY_PREFIX:
        suffix = "" if actual == "tok" else f" {text[:60]}"
        raise UsageError(
            f"{text[:60]} is the id of {_add_article(_KINDS_BY_PREFIX[actual])}, not of"
            f" {_add_article(_KINDS_BY_PREFIX[prefix])}.",
            next_step=f"storefleet {_GROUPS_BY_PREFIX[actual]}{suffix}",
        )


def _add_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
