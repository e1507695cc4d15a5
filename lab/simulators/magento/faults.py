"""What goes wrong at a shop, and the habits of an installation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class MagentoFaultKind(StrEnum):
    """What goes wrong, as the client sees it."""

    THROTTLED = "throttled"
    """429 of a CDN, with Retry-After."""
    MAINTENANCE = "maintenance"
    """503 in HTML, with Retry-After."""
    INTERNAL = "internal"
    """500 with a report id: a deadlock in the database."""
    DROPPED = "dropped"
    """The connection is gone before the answer."""
    LATE = "late"
    """The same, after it was carried out."""
    TRUNCATED = "truncated"
    """Half of the answer, as if it were all."""
    HTML_200 = "html_200"
    """A page of somebody in between."""
    EXPIRED = "expired"
    """401: the token is no longer known."""


@dataclass
class MagentoFault:
    """One fault for the next requests that match."""

    kind: MagentoFaultKind
    path: str = "*"
    times: int = 1
    skip: int = 0
    retry_after_s: int = 1


@dataclass
class IntegrationCredentials:
    """An integration's."""

    token: str = "access-token"  # noqa: S105 -- nobody's
    token_secret: str = "access-token-secret"  # noqa: S105
    consumer_key: str = "consumer-key"
    consumer_secret: str = "consumer-secret"  # noqa: S105


@dataclass
class MagentoHabits:
    """Habits of the installation.

    Attributes:
        bearer: `oauth/consumer/enable_integration_as_bearer`: off by default since 2.4.4.
        repeat_last_page: What older versions do beyond the end.
        page_limit: The optional limit of pageSize; None: none.
        rates: How often a kind of fault happens by chance.
        array_limit: The optional limit of rows that one call may write; None: none.
        orphans: Whether a quantity of a sku that is not there is taken, as most versions do.
        sources: Of its multi-source inventory, where the integration may see them: code = name.
    """

    bearer: bool = False
    repeat_last_page: bool = True
    page_limit: int | None = 300
    array_limit: int | None = None
    orphans: bool = True
    sources: Mapping[str, str] | None = None
    rates: Mapping[MagentoFaultKind, float] = field(default_factory=dict)
