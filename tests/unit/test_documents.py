"""Links resolve; codes and settings in the documents are those of the source."""

import re
from pathlib import Path

import pytest

from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings
from tests.support.documents.sources import ROOT, collect_error_codes

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
#: Without the changelog, which also lists former names.
CURRENT_DOCUMENTS = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
#: Read by the command line and by tests; not settings of the services.
OTHER_VARIABLES = {
    "URL",
    "LIVE_URL",
    "TOKEN",
    "FAILPOINT_FILE",
    "FAILPOINT_LOG",
    "DUMP",
    "SINCE",
} | {*("BENCH_BLOCK", "BENCH_CROWD", "BENCH_STORES")}


def words_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors_of(path: Path) -> set[str]:
    """Return the fragments that the rendered document offers."""
    titles = re.findall(r"(?m)^#+ (.+)$", words_of(path))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", words_of(document)):
        if link.startswith(("http://", "https://")):
            continue
        place, _, fragment = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        assert not fragment or fragment in anchors_of(target), link


@pytest.mark.parametrize("document", CURRENT_DOCUMENTS, ids=lambda path: path.name)
def test_named_settings_exist(document: Path) -> None:
    known = {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    named = set(re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z][A-Z_]*[A-Z])\b", words_of(document)))
    assert named - known == set()


def test_error_codes_are_documented() -> None:
    section = words_of(ROOT / "docs" / "operations.md").partition("\n## Error codes\n")[2]
    explained = set(re.findall(r"(?m)^\| `([a-z_]+)` \|", section))
    source = collect_error_codes("libs/storefleet", "services")
    assert source - explained == set()
    # derived from HTTP reason phrases, so the source has no such literal
    assert explained - source == {"method_not_allowed"}
