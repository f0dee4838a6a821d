"""What the platform tells a store about itself, in the JSON file that STORE_CONFIG names."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TITLE_LENGTH = 60
LOOPBACK = "127.0.0.1"
SECRET_LIMIT = 4096
CURRENCIES = ("USD", "EUR", "GBP")


class ConfigurationError(Exception):
    """The store cannot start; the text says what is wrong with its file and holds no value from it."""


@dataclass(frozen=True, kw_only=True)
class Database:
    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Store:
    store_id: str
    host: str
    address: str
    port: int
    url: str
    database: Database
    secret_key: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    title: str
    currency: str
    data_dir: Path
    mail_dir: Path
    template_dir: Path | None

    @property
    def domain(self) -> str:
        """Host and, when it is not the scheme's own, port: what links in e-mails begin with."""
        return urlsplit(self.url).netloc or self.host

    @property
    def encrypted(self) -> bool:
        return urlsplit(self.url).scheme == "https"


@cache
def current() -> Store:
    """The store of this process; raises ConfigurationError."""
    path = os.environ.get("STORE_CONFIG")
    if not path:
        raise ConfigurationError("STORE_CONFIG does not name a file")
    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(
            f"the file that STORE_CONFIG names cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigurationError("the file that STORE_CONFIG names is not JSON") from None


def parse(content: Mapping[str, Any]) -> Store:
    """A store from the file's content; raises ConfigurationError that names the first entry that is missing."""
    try:
        parameters = content.get("parameters") or {}
        return Store(
            store_id=content["store_id"],
            host=content["host"],
            address=content.get("address", LOOPBACK),
            port=int(content["port"]),
            url=content["url"],
            database=_database(content["database"]),
            secret_key=_secret(content, "secret_key"),
            admin_email=_secret(content["admin"], "username"),
            admin_password=_secret(content["admin"], "password"),
            title=_title(parameters.get("title") or "") or content["name"],
            currency=_currency(parameters.get("currency", CURRENCIES[0])),
            data_dir=Path(content["data_dir"]).resolve(),
            mail_dir=Path(content["mail_dir"]).resolve(),
            template_dir=Path(content["template_dir"]) if content.get("template_dir") else None,
        )
    except KeyError as error:
        raise ConfigurationError(f"the file that STORE_CONFIG names has no entry {error}") from None
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(
            "the file that STORE_CONFIG names has an entry of the wrong kind"
        ) from None


def _database(content: Mapping[str, Any]) -> Database:
    return Database(
        host=content["host"],
        port=int(content["port"]),
        name=content["name"],
        user=content["user"],
        password=_secret(content, "password"),
    )


def _secret(content: Mapping[str, Any], name: str) -> str:
    """The entry itself, or what the file holds that `<name>_file` names."""
    if name in content or f"{name}_file" not in content:
        value = content[name]
        if not isinstance(value, str):
            raise TypeError(name)
        return value
    return read_secret(Path(content[f"{name}_file"]), f"the entry {name!r}")


def read_secret(path: Path, what: str) -> str:
    """The one line of a file, as a mounted Secret is; raises ConfigurationError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(SECRET_LIMIT + 1).removesuffix("\n")
    except OSError as error:
        raise ConfigurationError(
            f"the file {path} for {what} cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigurationError(f"the file {path} for {what} is not UTF-8 text") from None
    if not text or len(text) > SECRET_LIMIT or not text.isprintable():
        raise ConfigurationError(f"the file {path} for {what} does not hold one line of text")
    return text


def _title(text: str) -> str:
    """One printable line: the title goes into e-mail headers, where a line break would be an injection."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())[:TITLE_LENGTH]


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ConfigurationError(f"the currency is none of {', '.join(CURRENCIES)}")
    return code
