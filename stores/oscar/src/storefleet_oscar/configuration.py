"""The store's configuration, read from the JSON file that STORE_CONFIG names.

The platform writes the file. Secrets are either in it (local runtime) or in files that it names
(containers).
"""

import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TITLE_LENGTH_MAX = 240  # code points, as the platform accepts
LOOPBACK = "127.0.0.1"
SECRET_LENGTH_MAX = 4096
CURRENCIES = ("USD", "EUR", "GBP")
#: The largest request body without an entry `upload_max_bytes`.
UPLOAD_MAX_BYTES = 16 * 1024 * 1024
#: Unicode categories of controls and of separators of lines and paragraphs.
LINE_BREAKING = ("Cc", "Zl", "Zp")


class ConfigurationError(Exception):
    """The store's configuration is invalid; the message contains no value from the file."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """Address and credentials of the store's database."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Store:
    """The configuration of one store."""

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
    template_dir: Path | None
    upload_max_bytes: int
    mail_key: str | None = field(repr=False)
    mail_key_file: Path | None

    @property
    def domain(self) -> str:
        """Host name, with the port unless it is the scheme's default; used for links in e-mails."""
        return urlsplit(self.url).netloc or self.host

    def read_mail_key(self) -> str | None:
        """Return the key of the mail outbox; None if the store has none.

        The file is read each time: the platform may add it while the store runs.
        """
        if self.mail_key_file is None:
            return self.mail_key
        try:
            return read_secret(self.mail_key_file, "the mail key")
        except ConfigurationError:
            return None

    @property
    def is_https(self) -> bool:
        """Whether customers reach the store over HTTPS."""
        return urlsplit(self.url).scheme == "https"


@cache
def load_store() -> Store:
    """Read the configuration of this process's store once; raises ConfigurationError."""
    path = os.environ.get("STORE_CONFIG")
    if not path:
        raise ConfigurationError("STORE_CONFIG does not name a file")
    try:
        return parse_store(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(
            f"the file that STORE_CONFIG names cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigurationError("the file that STORE_CONFIG names is not JSON") from None


def parse_store(content: Mapping[str, Any]) -> Store:
    """Build a store's configuration from the file's content.

    Raises ConfigurationError, which names the first entry that is missing.
    """
    try:
        parameters = content.get("parameters") or {}
        return Store(
            store_id=content["store_id"],
            host=content["host"],
            address=content.get("address", LOOPBACK),
            port=int(content["port"]),
            url=content["url"],
            database=_parse_database(content["database"]),
            secret_key=_read_entry(content, "secret_key"),
            admin_email=_read_entry(content["admin"], "username"),
            admin_password=_read_entry(content["admin"], "password"),
            title=_normalize_title(parameters.get("title") or "") or content["name"],
            currency=_check_currency(parameters.get("currency", CURRENCIES[0])),
            data_dir=Path(content["data_dir"]).resolve(),
            template_dir=_find_path(content, "template_dir"),
            upload_max_bytes=int(content.get("upload_max_bytes") or UPLOAD_MAX_BYTES),
            mail_key=content.get("mail_key"),
            mail_key_file=_find_path(content, "mail_key_file"),
        )
    except KeyError as error:
        raise ConfigurationError(f"the file that STORE_CONFIG names has no entry {error}") from None
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(
            "the file that STORE_CONFIG names has an entry of the wrong type"
        ) from None


def _find_path(content: Mapping[str, Any], name: str) -> Path | None:
    return Path(content[name]) if content.get(name) else None


def _parse_database(content: Mapping[str, Any]) -> Database:
    return Database(
        host=content["host"],
        port=int(content["port"]),
        name=content["name"],
        user=content["user"],
        password=_read_entry(content, "password"),
    )


def _read_entry(content: Mapping[str, Any], name: str) -> str:
    """Return the entry `name`, or the content of the file that `<name>_file` names."""
    if name in content or f"{name}_file" not in content:
        value = content[name]
        if not isinstance(value, str):
            raise TypeError(name)
        return value
    return read_secret(Path(content[f"{name}_file"]), f"the entry {name!r}")


def read_secret(path: Path, what: str) -> str:
    """Read a mounted Secret: a file with one line of text; raises ConfigurationError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(SECRET_LENGTH_MAX + 1).removesuffix("\n")
    except OSError as error:
        raise ConfigurationError(
            f"the file {path} for {what} cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigurationError(f"the file {path} for {what} is not UTF-8 text") from None
    if not text or len(text) > SECRET_LENGTH_MAX or not text.isprintable():
        raise ConfigurationError(f"the file {path} for {what} does not hold one line of text")
    return text


def _normalize_title(text: str) -> str:
    """Reduce a title to one line; a line break would allow e-mail header injection.

    All else stays: joiners, marks and blanks belong to the text, although they are not “printable”.
    """
    line = "".join(" " if unicodedata.category(sign) in LINE_BREAKING else sign for sign in text)
    return line[:TITLE_LENGTH_MAX] if line.strip() else ""


def _check_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ConfigurationError(f"the currency is not one of {', '.join(CURRENCIES)}")
    return code
