"""What the rest of us may ask of a company's Service Layer, and the errors that answer in its place."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.sap_b1.change_set import B1Answer, B1Request
from connectors.sap_b1.redaction import codes_of, personal_values_of, redact

__all__ = [
    "AnswerUnknownError",
    "B1Answer",
    "B1Request",
    "NotSentError",
    "PasswordRefusedError",
    "QueryRefusedError",
    "ServiceLayer",
    "TierTooLowError",
    "UnavailableError",
    "describe",
    "quote_literal",
    "read_rows",
]


class NotSentError(RetriableError):
    """Nothing left this machine: no connection, no TLS, no free connection in time."""


class UnavailableError(RetriableError):
    """B1 was reached, or could not answer a read, and nothing was written: pause the company's intake."""


class NotInstalledError(UnavailableError):
    """The claim table or a field is missing: nothing is written before a person has made it."""

    hold_reason = "not_installed"


class TierTooLowError(UnavailableError):
    """B1 keeps doubles out less well than configured, or nobody has looked: nothing is written before that is so."""

    hold_reason = "tier_too_low"


class AnswerUnknownError(OutcomeUnknownError):
    """A write was sent and its end is not known: no answer, a cut one, any 5xx. Send the identical request again.

    Attributes:
        answered: Somebody answered, B1 or a proxy: the attempt has most likely ended. Otherwise B1 may be at it still.
        retry_after_s: How long the answer asked us to wait; None: it did not say.
    """

    def __init__(self, message: str, *, answered: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.answered = answered
        self.retry_after_s = retry_after_s


class QueryRefusedError(UnavailableError):
    """B1 refused one query of those asked, while it answers others: the query is what is wrong, or our rights.

    Attributes:
        index: Which of the paths.
        status: Its HTTP status.
        reason: What a posting that cannot do without the answer is refused for (`schemas.letters.REASONS`).
    """

    def __init__(self, message: str, index: int, status: int) -> None:
        super().__init__(message)
        self.index, self.status = index, status
        self.reason = "not_permitted" if status == 403 else "erp_refused"


class PasswordRefusedError(FatalError):
    """B1 refused user, password or company. One try, and no other for half an hour: a few lock the account.

    Attributes:
        retry_in_s: When the same login may be tried again.
    """

    hold_reason = "password_refused"

    def __init__(self, message: str, retry_in_s: float) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class ServiceLayer(Protocol):
    """One company's Service Layer.

    Raises `NotSentError`, `UnavailableError`, `AnswerUnknownError` (writes only) and `FatalError`, nothing else.
    """

    async def change_set(self, requests: Sequence[B1Request]) -> list[B1Answer]:
        """Write all of it or nothing.

        Returns:
            One answer per request, in their order, all 2xx; or the single answer of what refused the whole.
        """
        ...

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        """GET each path, in one round trip where B1 lets it; a 404 or another 4xx is an answer like others."""
        ...

    async def post(self, path: str, body: Mapping[str, Any]) -> B1Answer:
        """An action, a preview, a piece of metadata: outside a change set."""
        ...

    async def ping(self) -> bool:
        """Whether somebody answers for B1 at all. Never raises, needs no session."""
        ...

    async def close(self) -> None:
        """Log every session out, in bounded time."""
        ...


def quote_literal(text: str) -> str:
    """A string literal of OData for a path or a query: quotes doubled, everything else percent-encoded.

    The one way by which a value may get into a URL (SAP's SDK tests and code, n=4: `ABC'DEF` is `'ABC%27%27DEF'`).
    """
    return "'" + quote(text.replace("'", "''"), safe="", errors="replace") + "'"


async def read_rows(service_layer: ServiceLayer, paths: Sequence[str]) -> list[list[Mapping[str, Any]]]:
    """The rows of each collection, every page of it.

    Raises:
        QueryRefusedError: B1 refused one of the queries, and in the words of `describe` how.
        NotSentError, FatalError: As `ServiceLayer.read`.
    """
    rows: list[list[Mapping[str, Any]]] = [[] for _ in paths]
    wanted = list(enumerate(paths))
    while wanted:
        following: list[tuple[int, str]] = []
        answers = await service_layer.read([path for _, path in wanted])
        for (index, path), answer in zip(wanted, answers, strict=True):
            if not answer.ok or answer.body is None:
                message = f"B1 does not list {path.partition('?')[0]}: {describe(answer)}"
                raise QueryRefusedError(message, index, answer.status)
            value = answer.body.get("value")
            rows[index] += [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
            link = answer.body.get("@odata.nextLink", answer.body.get("odata.nextLink"))
            if isinstance(link, str) and link:
                following.append((index, _next(link, path)))
        wanted = following
    return rows


def _next(link: str, path: str) -> str:
    """The path of the next page: our own query again with the link's `$skip`.

    Links come relative, absolute on the host or whole, and older builds drop the rest of the query (seen on
    live systems; SAP's Service Layer guide shows all three forms).
    """
    skip = _SKIP.search(link)
    own = _SKIP.search(path)
    if skip is None or int(skip[1]) <= (int(own[1]) if own else 0):
        raise UnavailableError("B1 names a next page that does not follow this one")
    base = _SKIP.sub("", path)
    return f"{base}{'&' if '?' in base else '?'}$skip={skip[1]}"


_SKIP = re.compile(r"[?&](?:\$|%24)skip=(\d+)")


def describe(answer: B1Answer, requests: Sequence[B1Request] = ()) -> str:
    """SAP's refusal in one line, our codes in it and nothing about people: for logs, dead letters and findings.

    Args:
        answer: The refusal.
        requests: What was refused: its codes may stand in SAP's words, its names and addresses may not.
    """
    code, text = answer.error
    if code is None:
        return f"HTTP {answer.status}"
    bodies = [request.body for request in requests]
    words = redact(text, 240, codes_of(bodies), personal_values_of(bodies))
    return f"HTTP {answer.status}, code {code}: {words}"
