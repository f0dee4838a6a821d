"""Sizes of requests that the web server of a WooCommerce store accepts."""

import re

import pytest

from tests.unit.test_woocommerce_programs import STORE_SOURCE, run_code

APACHE = (STORE_SOURCE / "shop" / "etc" / "apache.conf").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"\$\{(STORE_(?:UPLOAD|REQUEST)\w+)\}", APACHE)))


@pytest.mark.parametrize(("upload", "mb"), [("", 16), ("33554432", 32)])
def test_request_limits_follow_limit_of_files(upload: str, mb: int) -> None:
    names = ", ".join(f"'{name}'" for name in NAMES)
    code = f"RequestLimits::export(); echo json_encode(array_map('getenv', [{names}]));"
    found = run_code(code, "configuration", "request-limits", STORE_UPLOAD_MAX_BYTES=upload)
    size = mb * 1024**2
    assert dict(zip(NAMES, found, strict=True)) == {
        "STORE_REQUEST_MAX_BYTES": str(size + 1024**2),
        "STORE_UPLOAD_MAX_BYTES": str(size),
        "STORE_UPLOAD_MAX_MB": str(mb),
        "STORE_UPLOAD_REQUEST_MAX_BYTES": str(2 * size + 1024**2),
    }


def test_invalid_limit_is_reported() -> None:
    code = (
        "try { RequestLimits::export(); }"
        " catch (PermanentError $error) { echo json_encode($error->getMessage()); }"
    )
    told = run_code(code, "configuration", "request-limits", STORE_UPLOAD_MAX_BYTES="much")
    assert "Correct the plan" in told
