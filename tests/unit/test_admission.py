"""Rules of store names and idempotency keys, and request fingerprints."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storefleet.admission.idempotency import check_idempotency_key, hash_request
from storefleet.admission.requests import CreateStore
from storefleet.core.errors import InvalidRequest
from storefleet.core.store_names import RESERVED_NAMES, find_name_problem

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
QUICK = settings(max_examples=300, deadline=None, database=None)


def allowed(name: str) -> bool:
    """Decide about a name by a second implementation of the rule."""
    inside = all(character in LETTERS + "-" for character in name)
    ends = bool(name) and name[0] != "-" and name[-1] != "-"
    return (
        3 <= len(name) <= 40
        and inside
        and ends
        and "xn--" not in name
        and name not in RESERVED_NAMES
    )


@QUICK
@given(
    st.one_of(
        st.text(max_size=45),
        st.text(alphabet=LETTERS + "-", max_size=45),
        st.sampled_from(sorted(RESERVED_NAMES)),
    )
)
@example("xn--abc")
@example("a-xn--b")
@example("abc\n")
@example("ABC")
@example("é" * 5)
@example("٣٣٣")
@example("a" * 40)
@example("a" * 41)
def test_invalid_name_has_explanation(name: str) -> None:
    problem = find_name_problem(name)
    assert (problem is None) == allowed(name)
    if problem is not None:
        assert re.fullmatch(r"[a-z].*[^.]", problem)


@QUICK
@given(
    st.text(alphabet=LETTERS, min_size=1, max_size=1),
    st.text(alphabet=LETTERS + "-", min_size=1, max_size=38),
)
def test_accepted_name_is_host_label(end: str, middle: str) -> None:
    name = f"{end}{middle}{end}"
    if "xn--" not in name and name not in RESERVED_NAMES:
        assert find_name_problem(name) is None
        assert re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", name)


@pytest.mark.parametrize("name", ["www", "api", "admin", "dashboard", "mail", "localhost"])
def test_platform_names_are_reserved(name: str) -> None:
    assert find_name_problem(name) == "is reserved; choose another name"


def test_reserved_names_are_otherwise_valid_or_too_short() -> None:
    wrong = [
        name
        for name in RESERVED_NAMES
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", name)
    ]
    assert wrong == []


def test_request_fingerprint_ignores_order() -> None:
    one = hash_request(CreateStore(name="a", parameters={"x": 1, "y": 2}))
    assert one == hash_request(CreateStore(name="a", parameters={"y": 2, "x": 1}))
    assert one != hash_request(CreateStore(name="a", parameters={"x": 1, "y": 3}))


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "ä", "a\n", "\x7f"])
def test_idempotency_key_requires_short_printable_text(key: str) -> None:
    with pytest.raises(InvalidRequest):
        check_idempotency_key(key)
    check_idempotency_key("a" * 255)
