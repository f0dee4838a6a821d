"""Report the settings in force: value, default and source of each."""

import os

from pydantic import SecretStr

from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings


def describe_settings(settings: Settings) -> list[dict[str, str]]:
    """List every setting as text; values of secrets are hidden.

    Returns:
        A row per setting with `name`, `value`, `default`, `source` (`environment`, `file` or
        `default`) and `description`.
    """
    rows = []
    for name, field in Settings.model_fields.items():
        value, default = getattr(settings, name), field.get_default()
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        rows.append(
            {
                "name": variable,
                "value": _format_value(value),
                "default": _format_value(default),
                "source": _find_source(settings, variable),
                "description": field.description or "",
            }
        )
    return rows


def _find_source(settings: Settings, variable: str) -> str:
    if variable in os.environ:
        return "environment"
    folder = settings.secrets_dir
    if folder is not None and (folder / variable.lower()).exists():
        return "file"
    return "default"


def _format_value(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(hidden)" if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return "" if value is None else str(value)
