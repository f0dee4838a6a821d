"""Settings: sources, validation, and hidden secrets."""

from pathlib import Path

import pytest

from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings, SettingsError, read_settings
from storefleet.core.settings_report import describe_settings


def test_defaults_match_contract() -> None:
    settings = read_settings()
    assert settings.gateway_url == "http://127.0.0.1:8080"
    assert settings.live_url == "ws://127.0.0.1:8081/api/v1/events"
    assert (settings.stores_per_hour, settings.stores_per_tenant) == (10, 50)
    assert settings.workers == 5
    assert settings.lease <= 30
    assert settings.body_limit == 64 * 1024
    assert settings.state_dir.is_absolute()


def test_environment_overrides_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}STORES_PER_HOUR", "7")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}RETRY_DELAYS", "0.5,2")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}ENGINES_PATH", f"{tmp_path}:/other")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}PUBLIC_URL", "https://shops.example.com/")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}UNKNOWN", "is passed over")
    settings = read_settings()
    assert settings.stores_per_hour == 7
    assert settings.retry_delays == (0.5, 2)
    assert settings.engines_path == (tmp_path, Path("/other"))
    assert settings.gateway_url == "https://shops.example.com"


def test_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "storefleet_database_url").write_text("postgresql://u:secret@h/d\n")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}SECRETS_DIR", str(tmp_path))
    settings = read_settings()
    assert settings.database_url.get_secret_value() == "postgresql://u:secret@h/d"
    assert "secret@" not in repr(settings)
    assert "secret@" not in str(describe_settings(settings))
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}DATABASE_URL", "postgresql://from-the-environment")
    assert read_settings().database_url.get_secret_value() == "postgresql://from-the-environment"


def test_settings_are_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "storefleet_nats_url").write_text("nats://u:hush@h")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}WORKERS", "3")
    rows = {row["name"]: row for row in describe_settings(read_settings())}
    assert len(rows) == len(Settings.model_fields)
    assert all(row["description"] for row in rows.values())
    assert (rows["STOREFLEET_WORKERS"]["value"], rows["STOREFLEET_WORKERS"]["default"]) == (
        "3",
        "5",
    )
    assert rows["STOREFLEET_WORKERS"]["source"] == "environment"
    assert (rows["STOREFLEET_NATS_URL"]["value"], rows["STOREFLEET_NATS_URL"]["source"]) == (
        "(hidden)",
        "file",
    )
    assert rows["STOREFLEET_LEASE"]["source"] == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("GATEWAY_PORT", "0"),
            ("GATEWAY_PORT", "65536"),
            ("GATEWAY_PORT", "x"),
            ("LEASE", "0"),
            ("LEASE", "-1"),
        ),
        *(
            ("WORKERS", "0"),
            ("RUNTIME", "cloud"),
            ("STORE_SCHEME", "ftp"),
            ("LOG_LEVEL", "loud"),
            ("RETRY_DELAYS", "0"),
            ("RETRY_DELAYS", "x"),
        ),
        *(
            ("STORE_PUBLIC_PORT", "65536"),
            ("HELM_RUNS", "0"),
            ("HELM_TIMEOUT", "0"),
            ("RETRY_DELAYS", ""),
            ("STORES_PER_HOUR", "-1"),
            ("BODY_LIMIT", "1"),
            ("WEBSOCKET_BACKLOG", "99999999"),
        ),
    ],
)
def test_invalid_setting_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}{name}", value)
    with pytest.raises(SettingsError, match=f"{ENVIRONMENT_PREFIX}{name}") as error:
        read_settings()
    assert "\n" not in str(error.value)


def test_store_ports_are_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}STORE_PORT_FIRST", "9000")
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}STORE_PORT_LAST", "8999")
    with pytest.raises(
        SettingsError, match="STOREFLEET_STORE_PORT_FIRST is above STOREFLEET_STORE_PORT_LAST"
    ):
        read_settings()
