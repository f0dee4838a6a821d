"""Titles of every kind in the engines' own programs that need no database."""

import html
import json
import subprocess

import pytest

from tests.support.documents.sources import ROOT
from tests.support.setup.programs import node
from tests.support.texts.samples import HARD_TITLES
from tests.unit.test_oscar_configuration import make_content

# The import above puts Oscar's sources on the path.
from storefleet_oscar.configuration import parse_store  # isort: skip

_RENDER = """
import { renderPage } from "%s/stores/medusa/src/storefront/page-shell.mjs"
import { html } from "%s/stores/medusa/src/storefront/html.mjs"
const titles = JSON.parse(process.argv[1])
const pages = titles.map((title) => String(renderPage(
  { title, key: "pk", count: 0, categories: [], words: "", current: "" },
  { title: "", main: html`<h1>Main</h1>` })))
process.stdout.write(JSON.stringify(pages))
"""


def test_medusa_page_shows_title_as_it_is() -> None:
    done = subprocess.run(
        [
            str(node()),
            "--input-type=module",
            "-e",
            _RENDER.replace("%s", str(ROOT)),
            json.dumps(HARD_TITLES),
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for title, page in zip(HARD_TITLES, json.loads(done.stdout), strict=True):
        assert html.unescape(page.partition("<title>")[2].partition("</title>")[0]) == title
        brand = page.partition('<a class="brand" href="/">')[2].partition("</a>")[0]
        assert html.unescape(brand) == title
        assert "<script>alert" not in page


@pytest.mark.parametrize("title", HARD_TITLES)
def test_oscar_keeps_title_as_it_is(title: str) -> None:
    assert parse_store(make_content(parameters={"title": title})).title == title


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("a\r\nBcc: b", "a  Bcc: b"),
        ("a\u2028b", "a b"),
        ("\x85", "acme"),
        ("", "acme"),
    ],
)
def test_oscar_title_has_no_line_break(title: str, kept: str) -> None:
    """The platform refuses such titles; one that reaches a mail's header must not extend it."""
    assert parse_store(make_content(parameters={"title": title})).title == kept
