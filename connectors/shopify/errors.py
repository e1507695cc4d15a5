"""What Shopify's refusals mean, beyond the errors that all connectors have."""

import re
from collections.abc import Mapping

from connectors.base.errors import (
    ConnectorError,
    CredentialsRefusedError,
    FatalError,
    OutcomeUnknownError,
    RetriableError,
)
from connectors.base.http import StatusRule

FROZEN_WAIT_S = 600.0  # people have to act; we look now and then
SCOPES = "give the app the scopes of connectors/shopify/README.md"
_WRONG_ADDRESS = StatusRule(FatalError, remedy="correct shop, url or api_version")
STATUS_RULES: Mapping[int, StatusRule] = {
    3: _WRONG_ADDRESS,
    4: _WRONG_ADDRESS,
    401: StatusRule(FatalError, "the access token is wrong or was taken back", "give it a new one"),
    402: StatusRule(cause="the shop is frozen", wait_s=FROZEN_WAIT_S),
    403: StatusRule(FatalError, "the app lacks a scope", SCOPES),
    408: StatusRule(),
    409: StatusRule(),
    423: StatusRule(cause="the shop is locked", wait_s=FROZEN_WAIT_S),
    429: StatusRule(wait_s=2.0),
    430: StatusRule(cause="refused as unsafe", remedy="ask Shopify", wait_s=60.0),
}


class TooCostlyError(ConnectorError):
    """A query would cost more than one query may: ask for fewer rows."""


class CursorExpiredError(ConnectorError):
    """A page's cursor is no longer known: begin the pages anew."""


class BulkGoneError(ConnectorError):
    """The result of a bulk operation is not there any more: start another one."""


class UncertainWriteError(OutcomeUnknownError):
    """A mutation of which nobody knows whether it was executed.

    Attributes:
        retry_after_s: When Shopify will have points again; None: that is not why.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def wait_s_of(error: OutcomeUnknownError) -> float | None:
    """How long Shopify asked us to wait."""
    return error.retry_after_s if isinstance(error, UncertainWriteError) else None


def codes_of(errors: object) -> set[str]:
    """The codes of an answer's `errors`."""
    if not isinstance(errors, list):
        return set()
    found = (each.get("extensions") for each in errors if isinstance(each, Mapping))
    return {str(each.get("code")) for each in found if isinstance(each, Mapping)}


def error_of(errors: object) -> ConnectorError:
    """What an answer's `errors` mean."""
    codes = codes_of(errors)
    rows = errors if isinstance(errors, list) else []
    texts = [str(each.get("message", "")) for each in rows if isinstance(each, Mapping)]
    named = ", ".join(sorted(code[:40] for code in codes))
    if "MAX_COST_EXCEEDED" in codes:
        return TooCostlyError("shopify: the query costs too much")
    if "ACCESS_DENIED" in codes:
        found = (re.match(r"Access denied for (\w{1,60})", text) for text in texts)
        fields = ", ".join(sorted({each[1] for each in found if each}))
        return CredentialsRefusedError(f"shopify: access denied{f' to {fields}' if fields else ''}; {SCOPES}")
    if any("cursor" in text.lower() for text in texts):
        return CursorExpiredError("shopify: the page's cursor is not known any more")
    if codes & {"INTERNAL_SERVER_ERROR", "TIMEOUT", "SHOP_INACTIVE"} or not codes:
        return RetriableError(f"shopify: the query failed ({named or 'no code'})")
    return FatalError(f"shopify: refuses a query ({named}); report this version")
