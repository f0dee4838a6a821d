"""Precedence of access settings; the local platform's token is sent nowhere else."""

import json
import os
from pathlib import Path

import pytest

from storefleet.cli.cli_errors import AccessDenied, UsageError
from storefleet.cli.endpoint import ConnectionOptions, resolve_access

URL, LIVE = "http://127.0.0.1:8080", "ws://127.0.0.1:8081/api/v1/events"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder two levels below a local platform."""
    state = tmp_path / ".storefleet"
    state.mkdir()
    (state / "admin.json").write_text(
        json.dumps({"url": URL, "live_url": LIVE, "token": "sft_local"})
    )
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    return below


def test_local_platform_is_found_from_subfolder(home: Path) -> None:
    access = resolve_access(ConnectionOptions(), {}, home)
    assert (access.url, access.token, access.live_url) == (URL, "sft_local", LIVE)
    assert "sft_local" not in repr(access)


def test_flags_override_environment_and_file(home: Path) -> None:
    environ = {"STOREFLEET_URL": "https://env.example", "STOREFLEET_TOKEN": "sft_env"}
    access = resolve_access(ConnectionOptions(), environ, home)
    assert (access.url, access.token) == ("https://env.example", "sft_env")
    access = resolve_access(
        ConnectionOptions(url="https://flag.example", token="sft_flag"), environ, home
    )
    assert (access.url, access.token) == ("https://flag.example", "sft_flag")
    assert access.live_url == "wss://flag.example/api/v1/events"


@pytest.mark.parametrize(
    "url", ["http://shop.example:8080", "https://127.0.0.1:8080", "http://127.0.0.1:9999"]
)
def test_local_token_is_sent_to_local_platform_only(home: Path, url: str) -> None:
    with pytest.raises(AccessDenied) as refused:
        resolve_access(ConnectionOptions(url=url), {}, home)
    assert refused.value.exit_code == 4
    assert url in str(refused.value)


def test_localhost_equals_loopback_address(home: Path) -> None:
    assert (
        resolve_access(ConnectionOptions(url="http://localhost:8080/"), {}, home).token
        == "sft_local"
    )


def test_state_folder_is_selectable(home: Path, tmp_path: Path) -> None:
    state = home.parents[1] / ".storefleet"
    elsewhere = tmp_path / "elsewhere"
    assert resolve_access(ConnectionOptions(state_dir=state), {}, elsewhere).token == "sft_local"
    assert (
        resolve_access(ConnectionOptions(), {"STOREFLEET_STATE_DIR": str(state)}, elsewhere).token
        == "sft_local"
    )


def test_missing_access_explains_next_step(tmp_path: Path) -> None:
    (tmp_path / ".storefleet").mkdir()
    with pytest.raises(AccessDenied) as refused:
        resolve_access(ConnectionOptions(), {}, tmp_path)
    assert "make up" in refused.value.next_step
    assert "admin.json" in str(refused.value)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"token": 5', "{}", "x" * 70_000])
def test_invalid_file_is_explained(home: Path, content: str) -> None:
    (home.parents[1] / ".storefleet" / "admin.json").write_text(content)
    with pytest.raises(AccessDenied):
        resolve_access(ConnectionOptions(), {}, home)
    assert (
        resolve_access(ConnectionOptions(url=URL, token="sft_flag"), {}, home).token == "sft_flag"
    )


def test_file_of_other_user_requires_explicit_path(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.stat_result((0o100600, 0, 0, 0, 12_345, 0, 10, 0, 0, 0))
    real = Path.stat
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **more: stranger if path.name == "admin.json" else real(path, **more),
    )
    with pytest.raises(AccessDenied, match="belongs to another user"):
        resolve_access(ConnectionOptions(), {}, home)
    assert (
        resolve_access(ConnectionOptions(state_dir=home.parents[1] / ".storefleet"), {}, home).token
        == "sft_local"
    )


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x:99999",
        "http://x?y",
        "http://x y",
        "x",
        "http://ü.example",
    ],
)
def test_invalid_addresses_are_rejected(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        resolve_access(ConnectionOptions(url=url, token="t"), {}, tmp_path)


@pytest.mark.parametrize("token", ["a b", "a\nX-Evil: 1", "ü", "x" * 2000])
def test_invalid_tokens_are_rejected(token: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        resolve_access(ConnectionOptions(url=URL, token=token), {}, tmp_path)


@pytest.mark.parametrize(
    ("url", "given", "live"),
    [
        ("http://127.0.0.1:8080", None, "ws://127.0.0.1:8081/api/v1/events"),
        ("http://[::1]:8080", None, "ws://[::1]:8081/api/v1/events"),
        ("https://fleet.example", None, "wss://fleet.example/api/v1/events"),
        ("http://127.0.0.1:9000", None, None),
        ("http://127.0.0.1:9000", "ws://127.0.0.1:9001", "ws://127.0.0.1:9001/api/v1/events"),
        ("http://127.0.0.1:9000", "https://x.example/live", "wss://x.example/live"),
    ],
)
def test_websocket_address_is_derived(
    url: str, given: str | None, live: str | None, tmp_path: Path
) -> None:
    assert (
        resolve_access(ConnectionOptions(url=url, token="t", live_url=given), {}, tmp_path).live_url
        == live
    )
