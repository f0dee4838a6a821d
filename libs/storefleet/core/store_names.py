"""The rules for store names, which are the first labels of host names."""

import re

RESERVED_NAMES = frozenset(
    [
        "www",
        "api",
        "admin",
        "administrator",
        "dashboard",
        "mail",
        "email",
        "smtp",
        "imap",
        "pop",
        "ftp",
        "ns",
        "ns1",
        "ns2",
        "mx",
        "autodiscover",
        "autoconfig",
        "app",
        "apps",
        "static",
        "assets",
        "cdn",
        "media",
        "status",
        "health",
        "healthz",
        "metrics",
        "live",
        "events",
        "notifier",
        "gateway",
        "provisioner",
        "reaper",
        "storefleet",
        "store",
        "stores",
        "shop",
        "login",
        "logout",
        "signin",
        "signup",
        "auth",
        "oauth",
        "sso",
        "account",
        "accounts",
        "billing",
        "support",
        "help",
        "docs",
        "blog",
        "localhost",
        "local",
        "internal",
        "root",
        "system",
        "test-system",
        "grafana",
        "prometheus",
        "traefik",
        "registry",
        "git",
    ]
)
_NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,38})[a-z0-9]")


def find_name_problem(name: str) -> str | None:
    """Find the rule that a store's name violates.

    Returns:
        The end of a sentence such as “must have 3 to 40 characters”; None if the name is valid.
    """
    if not 3 <= len(name) <= 40:
        return "must have 3 to 40 characters"
    if not _NAME_PATTERN.fullmatch(name):
        return (
            "may contain only a-z, 0-9 and hyphens, and must begin and end with a letter or digit"
        )
    if "xn--" in name:
        return "must not contain “xn--”"
    if name in RESERVED_NAMES:
        return "is reserved; choose another name"
    return None
