"""View models of the form that creates a store, and the parsing of its engine parameters."""

import math
from collections.abc import Mapping
from typing import Any

from services.gateway.dashboard.view_models.resources import format_quantity
from storefleet.core.settings import Settings
from storefleet.engines.descriptor import Engine

_DEFAULT_PORTS = {"http": 80, "https": 443}


def make_url_preview(settings: Settings) -> dict[str, Any]:
    """Make the parts of a new store's URL before and after its name.

    `has_assigned_port` is true for the local runtime: there the port is known after creation only.
    """
    is_kubernetes = settings.runtime == "kubernetes"
    scheme = settings.store_scheme if is_kubernetes else "http"
    port = settings.store_public_port if is_kubernetes else 0
    is_default_port = port in (0, _DEFAULT_PORTS[scheme])
    suffix = f".{settings.store_domain}" + ("" if is_default_port else f":{port}")
    return {
        "prefix": f"{scheme}://",
        "suffix": suffix,
        "has_assigned_port": settings.runtime == "local",
    }


def make_engine_view(engine: Engine) -> dict[str, Any]:
    """Make the view of an engine with the quantities of its plans in readable form."""
    view = engine.to_json()
    return {**view, "plans": [_make_plan_view(plan) for plan in view["plans"]]}


def _make_plan_view(plan: Mapping[str, Any]) -> dict[str, Any]:
    summary = {name: format_quantity(quantity) for name, quantity in plan["summary"].items()}
    return {**plan, "summary": summary}


def parse_form_parameters(
    form: Mapping[str, Any], engine: str, schema: dict[str, Any]
) -> dict[str, Any]:
    """Parse the engine's parameters from the form fields `parameters.<engine>.<property>`.

    Empty fields are left out. Browsers do not send a checkbox that is not ticked, so an absent
    boolean is False. A value that does not match its type is passed on for the schema to reject.
    """
    parameters: dict[str, Any] = {}
    for name, rule in schema.get("properties", {}).items():
        value = form.get(f"parameters.{engine}.{name}")
        if rule.get("type") == "boolean":
            parameters[name] = value in ("true", "on")
        elif isinstance(value, str) and value.strip():
            parameters[name] = _parse_field(value.strip(), rule.get("type"))
    return parameters


def _parse_field(text: str, json_type: str | None) -> Any:
    try:
        if json_type == "integer":
            return int(text)
        if json_type == "number" and math.isfinite(value := float(text)):
            return value
    except ValueError:
        return text
    return text
