"""Models of the pages by which the platform observes a store: storefront, admin, checks, mail.

They are the sections `storefront`, `admin`, `checks` and `mail` of an engine's descriptor. The
pages are requested by `runtimes.storefront_check`.
"""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from storefleet.core.models import FrozenModel

#: A path on the store's host, with its query.
PagePath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=500)]
ExpectedText = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class CheckedPage(FrozenModel):
    """A page that answers 200 and contains a text.

    Attributes:
        title: What the page is, for people: “the {title} answers 500”. By default its path.
        path: Its path on the store's host.
        expect: The text, in UTF-8, compared with the body as it is sent.
    """

    title: Annotated[str, StringConstraints(max_length=60)] = ""
    path: PagePath
    expect: ExpectedText

    @property
    def label(self) -> str:
        """The title, or the path of a page without one."""
        return self.title or f"page {self.path}"


class ClosedPage(FrozenModel):
    """The check that is true while the owner has closed the store.

    Attributes:
        path: Its path; by default that of the storefront.
        expect: The text that it contains then.
    """

    path: PagePath | None = None
    expect: ExpectedText


class StorefrontPage(FrozenModel):
    """The front page, from whose answer the class of the storefront is read.

    Attributes:
        path: Its path.
        closed: How the engine says that the owner closed the store; absent if it cannot.
    """

    path: PagePath
    closed: ClosedPage | None = None


class AdminPage(FrozenModel):
    """The admin: its path, and the generated user's name.

    `{host}` in `username` is replaced by the store's host name.
    """

    path: PagePath
    username: str


class StoreChecks(FrozenModel):
    """The checks of a store.

    Attributes:
        installed: What a new store shows after its creation, such as a sample product. They are
            requested once: afterwards the store's content belongs to its owner.
        healthy: What every working store answers, whatever its owner changes. A version change
            compares each with its result right before the change.
    """

    installed: tuple[CheckedPage, ...] = Field((), max_length=20)
    healthy: tuple[CheckedPage, ...] = Field((), max_length=20)


class MailPage(FrozenModel):
    """The mail outbox: its path, without a query; see “The mail outbox” in docs/engines.md."""

    path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]{1,60}){1,5}$")]


def read_earlier_format(content: dict[str, Any]) -> dict[str, Any]:
    """Add the texts of the format before `checks.installed` and `checks.healthy` to the checks.

    It had one text each for storefront and sign-in page, and a list of more pages. All of them
    described a new store, so they become `checks.installed`.

    Args:
        content: A descriptor, as it was read.

    Returns:
        A descriptor of the present format; the same object if it has that already.
    """
    storefront, admin = content.get("storefront"), content.get("admin")
    pages = []
    if isinstance(storefront, dict) and "expect" in storefront:
        path, expect = storefront.get("path"), storefront["expect"]
        pages.append({"title": "storefront", "path": path, "expect": expect})
    if isinstance(admin, dict) and {"sign_in_path", "expect"} <= admin.keys():
        path, expect = admin["sign_in_path"], admin["expect"]
        pages.append({"title": "admin sign-in", "path": path, "expect": expect})
    checks = content.get("checks") or {}
    if isinstance(checks, list):
        checks = {"installed": checks}
    elif not pages:
        return content
    if not isinstance(checks, dict):
        return content
    return {**content, "checks": {**checks, "installed": [*pages, *checks.get("installed", ())]}}
