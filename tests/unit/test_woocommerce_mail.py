"""Texts of WooCommerce and WordPress for customers: sentences that promise a mail are replaced."""

import json

import pytest

from tests.unit.test_woocommerce_programs import STORE_SOURCE, run_php

MU_PLUGINS = STORE_SOURCE / "site" / "wp-content" / "mu-plugins" / "storefleet"


def find_text(source: str) -> str | None:
    code = (
        "<?php namespace Storefleet; define('ABSPATH', '/');"
        f" require '{MU_PLUGINS}/mail-wording.php';"
        " echo json_encode(MailWording::find_text(getenv('SOURCE')));"
    )
    done = run_php(stdin=code, SOURCE=source)
    assert done.returncode == 0, done.stdout + done.stderr
    text: str | None = json.loads(done.stdout)
    return text


@pytest.mark.parametrize(
    "source",
    [
        "Great news! A confirmation will be sent to your email address.",
        "Password reset email has been sent.",
        "Check your email",
        "Registration complete. Please check your email.",
        "We have e-mailed you the invoice.",
        "You will soon receive a message in your inbox.",
    ],
)
def test_promise_of_mail_is_replaced(source: str) -> None:
    text = find_text(source)
    assert text
    assert "sent to your" not in text
    assert "inbox" not in text
    assert not text.startswith(source)


@pytest.mark.parametrize(
    "source",
    [
        "Email address",
        "Please enter a valid email address",
        "%s is not a valid email address.",
        "The email could not be sent. Your site may not be correctly configured to send emails.",
        "<strong>Error:</strong> Unknown username. Check again or try your email address.",
        "Hi ###USERNAME###, this email has been sent to ###EMAIL###",
        "Your order has been received.",
    ],
)
def test_text_without_promise_is_kept(source: str) -> None:
    assert find_text(source) is None


def test_unknown_text_keeps_sentences_without_promise() -> None:
    text = find_text("Thanks for signing up! Please follow the link sent to your e-mail.")
    assert text == "Thanks for signing up! This store does not send e-mail yet."
