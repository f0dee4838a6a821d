"""The settings of every service and of the local node.

They are read once, from environment variables `STOREFLEET_*` and, for secrets, from files in
`STOREFLEET_SECRETS_DIR`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from storefleet.core.errors import StorefleetError

ENVIRONMENT_PREFIX = "STOREFLEET_"
_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_PACKAGED_DATA_DIR = _PACKAGE_DIR / "_data"
#: The folder with `charts` and `stores`: inside the installed wheel, or the checkout.
PROJECT_DIR = _PACKAGED_DATA_DIR if _PACKAGED_DATA_DIR.is_dir() else _PACKAGE_DIR.parents[1]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SettingsError(StorefleetError):
    """A setting breaks a rule; the text names the setting and the rule."""


class Settings(BaseSettings):
    """All settings. `storefleet settings` shows each with its description."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="ignore", frozen=True)

    state_dir: Path = Field(Path(".storefleet"), description="Data folder of the local node.")
    secrets_dir: Path | None = Field(
        None, description="Folder with a file storefleet_<setting> for each secret setting."
    )
    host: str = Field("127.0.0.1", description="Address the services listen on.")
    gateway_port: Port = Field(8080, description="Port of the HTTP API and the dashboard.")
    notifier_port: Port = Field(8081, description="Port of the event websocket.")
    provisioner_port: Port = Field(
        8082, description="Port of the provisioner's health and metrics."
    )
    reaper_port: Port = Field(8083, description="Port of the reaper's health and metrics.")
    public_url: str = Field("", description="Public address of the gateway, if behind a proxy.")
    public_live_url: str = Field(
        "", description="Public address of the notifier (ws:// or wss://)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )

    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL of the platform (postgresql://…)."
    )
    database_connections: int = Field(
        10, ge=1, le=200, description="Limit of pooled connections per service."
    )
    database_timeout: Seconds = Field(
        5, description="Timeout for a connection and for a statement, seconds."
    )
    stores_database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL of local stores; the role has CREATEDB, CREATEROLE."
    )
    nats_url: SecretStr = Field(
        SecretStr(""), description="NATS server(s), comma separated (nats://…)."
    )
    stream_replicas: int = Field(1, ge=1, le=5, description="Replicas of every stream.")

    runtime: Literal["local", "kubernetes", "simulated"] = Field(
        "local", description="Where stores run."
    )
    engines_path: Annotated[tuple[Path, ...], NoDecode] = Field(
        (PROJECT_DIR / "charts",), description="Folders of <engine>/engine.yaml, colon separated."
    )
    catalogue: Path | None = Field(
        None, description="File of the image build: the versions whose images exist."
    )
    default_engine: str = Field(
        "", description="Default engine; empty: woocommerce, oscar or the first one offered."
    )
    stores_user: str = Field(
        "", description="System user that owns the stores' files, when the services run as root."
    )
    store_domain: str = Field("localhost", description="Stores are reached at <name>.<domain>.")
    store_address: str = Field(
        "127.0.0.1", description="Address the local runtime's stores listen on."
    )
    store_port_first: Port = Field(
        8100, description="First loopback port of the local runtime's stores."
    )
    store_port_last: Port = Field(
        8999, description="Last loopback port of the local runtime's stores."
    )

    kubeconfig: str = Field(
        "", description="Kubernetes: path of the kubeconfig; empty: the pod's service account."
    )
    platform_namespace: str = Field(
        "storefleet", description="Kubernetes: namespace of the platform."
    )
    ingress_namespace: str = Field(
        "traefik", description="Kubernetes: namespace of the ingress controller."
    )
    exposure: Literal["", "none", "ingress", "httproute"] = Field(
        "", description="Kubernetes: exposure; empty: ingress if a class is set, else none."
    )
    ingress_class: str = Field(
        "",
        description="Kubernetes: class of the stores' Ingress; with exposure ingress, empty is the"
        " cluster's default.",
    )
    route_gateway: str = Field(
        "",
        pattern=r"^([a-z0-9.-]+/[a-z0-9.-]+(/[a-z0-9.-]+)?)?$",
        description="Kubernetes: Gateway of the stores' HTTPRoute: namespace/name or"
        " namespace/name/listener.",
    )
    ingress_address: str = Field(
        "",
        pattern=r"^(https?://[^/@\s]+)?$",
        description="Kubernetes: address of the ingress controller inside the cluster, to check"
        " that a deleted store is unreachable; empty: the store's own address.",
    )
    image_prefix: str = Field(
        "", description="Kubernetes: prefix of the stores' images (registry.example.com/)."
    )
    storage_class: str = Field(
        "", description="Kubernetes: class of the stores' volumes; empty: the cluster's default."
    )
    store_service: str = Field(
        "http://web.{namespace}.svc",
        pattern=r"^http://[^/\s]+$",
        description="Kubernetes: in-cluster address of a store's Service; {namespace} is replaced.",
    )
    cron_concurrency: int = Field(
        50, ge=1, le=1000, description="Kubernetes: parallel cron calls of one reaper."
    )
    cron_timeout: Seconds = Field(15, description="Kubernetes: timeout of a cron call, seconds.")
    storefront_check_interval: Seconds = Field(300, description="Pause between checks, seconds.")
    storefront_checks: int = Field(20, ge=1, le=1000, description="Parallel checks of one reaper.")
    store_scheme: Literal["http", "https"] = Field(
        "http", description="Kubernetes: scheme of the stores' public URLs."
    )
    store_public_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Kubernetes: port of the stores' public URLs; 0: the scheme's default.",
    )
    helm: str = Field("helm", description="Kubernetes: path or name of the Helm 4 program.")
    helm_runs: int = Field(
        5, ge=1, le=50, description="Kubernetes: parallel Helm processes of one provisioner."
    )
    helm_timeout: Seconds = Field(
        120, description="Kubernetes: timeout of a Helm process, seconds."
    )

    stores_per_hour: int = Field(10, ge=0, description="New stores per tenant in a rolling hour.")
    stores_per_tenant: int = Field(50, ge=0, description="Live stores per tenant.")
    body_limit: int = Field(65_536, ge=1024, description="Limit of a request body, bytes.")
    session_hours: int = Field(12, ge=1, le=720, description="Lifetime of a session, hours.")
    sign_in_attempts: int = Field(
        5, ge=1, description="Failed sign-ins per account before a pause."
    )
    sign_in_pause: Seconds = Field(60, description="Pause after too many failed sign-ins, seconds.")

    workers: int = Field(
        5, ge=1, le=100, description="Parallel operations of one provisioner or reaper."
    )
    lease: Seconds = Field(
        15,
        description="Duration of a lease; without renewal the worker loses the operation, seconds.",
    )
    redispatch_after: Seconds = Field(
        10, description="Time after which an unclaimed operation is dispatched again, seconds."
    )
    scan_interval: Seconds = Field(
        1, description="Interval of the reaper's scan for due and expired operations, seconds."
    )
    operation_deadline: Seconds = Field(
        900, description="Time after which a transient failure ends an operation, seconds."
    )
    retry_delays: Annotated[tuple[float, ...], NoDecode] = Field(
        (1, 5, 15, 60, 300),
        description="Pauses between attempts, seconds, comma separated; the last one repeats.",
    )
    restart_backoff: Seconds = Field(
        5, description="Longest pause before a crashed process is restarted, seconds."
    )
    shutdown_grace: Seconds = Field(
        8, description="Time for running work after SIGTERM before it is requeued, seconds."
    )
    drain: float = Field(
        0,
        ge=0,
        le=300,
        description="Time after SIGTERM in which a service answers but is not ready, seconds.",
    )
    keep_days: int = Field(7, ge=1, description="Days that events and deleted stores are kept.")
    websocket_limit: int = Field(15_000, ge=1, description="Limit of one notifier's websockets.")
    websocket_backlog: int = Field(
        32_768,
        ge=4096,
        le=49_152,
        description="Unsent bytes after which a slow websocket is switched to replay.",
    )

    @field_validator("engines_path", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(Path(part) for part in value.split(":") if part)

    @field_validator("catalogue", mode="before")
    @classmethod
    def _read_empty_as_none(cls, value: object) -> object:
        return value or None

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _split_delays(cls, value: object) -> object:
        return tuple(float(part) for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("state_dir", "secrets_dir", mode="after")
    @classmethod
    def _make_absolute(cls, value: Path | None) -> Path | None:
        return value.absolute() if value else value

    @model_validator(mode="after")
    def _validate_combinations(self) -> Self:
        if not self.retry_delays or min(self.retry_delays) <= 0:
            raise ValueError(
                f"{ENVIRONMENT_PREFIX}RETRY_DELAYS needs at least one number, all above 0"
            )
        if self.store_port_first > self.store_port_last:
            raise ValueError(
                f"{ENVIRONMENT_PREFIX}STORE_PORT_FIRST is above {ENVIRONMENT_PREFIX}STORE_PORT_LAST"
            )
        if self.exposure == "httproute" and not self.route_gateway:
            raise ValueError(
                f"{ENVIRONMENT_PREFIX}EXPOSURE is httproute, which needs"
                f" {ENVIRONMENT_PREFIX}ROUTE_GATEWAY (namespace/name)"
            )
        return self

    @property
    def store_exposure(self) -> Literal["none", "ingress", "httproute"]:
        """Return how stores are exposed, with the default resolved."""
        return self.exposure or ("ingress" if self.ingress_class else "none")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment and secret files only; a `.env` file is never read."""
        del settings_cls, dotenv_settings
        return init_settings, env_settings, file_secret_settings

    @property
    def gateway_url(self) -> str:
        """Return the gateway's address as clients use it."""
        return (self.public_url or f"http://{self.host}:{self.gateway_port}").rstrip("/")

    @property
    def live_url(self) -> str:
        """Return the full address of the event websocket."""
        base = self.public_live_url or f"ws://{self.host}:{self.notifier_port}"
        return base.rstrip("/") + "/api/v1/events"


def read_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and from secret files.

    Args:
        **overrides: Settings that take precedence, by field name.

    Raises:
        SettingsError: Settings are invalid; the text lists every one.
    """
    folder = overrides.get("secrets_dir") or os.environ.get(f"{ENVIRONMENT_PREFIX}SECRETS_DIR")
    try:
        return Settings(_secrets_dir=folder, **overrides)
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_describe_error(e["loc"], e["msg"]) for e in error.errors())
        ) from None


def _describe_error(place: tuple[int | str, ...], message: str) -> str:
    """Describe one error; a rule about several settings has no place and names them itself."""
    text = message.removeprefix("Value error, ")
    return f"{ENVIRONMENT_PREFIX}{'_'.join(map(str, place)).upper()}: {text}" if place else text
