"""What goes into a company and what comes out: requests, answers and refusals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Key: TypeAlias = str | int | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a change set.

    `path` is relative to the service root (`Orders`, `Orders(5)/Cancel`, `$1/Cancel`); `/b1s/v2/...` is taken as well.
    Header names are lower case.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    content_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """The answer to one request. A refusal's body is `{"error": {"code": "-10", "message": "...", "details": []}}`."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int | None:
        """B1's error code, None on success."""
        return int(self.body["error"]["code"]) if self.status >= 400 else None

    @property
    def text(self) -> str:
        """B1's error text, empty on success."""
        return str(self.body["error"]["message"]) if self.status >= 400 else ""


class RefusedError(Exception):
    """B1 says no: HTTP status, code and text."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status

    def answer(self) -> LedgerAnswer:
        """The refusal as it goes over the wire (v2)."""
        return refusal(self.code, self.text, self.status)


class NodeDiedError(Exception):
    """The node of the Service Layer that served the request has died of it: Apache answers in its place."""


class DraftedError(RefusedError):
    """An approval procedure made a draft of a document; -2028 is all that the caller learns (API reference)."""

    def __init__(self, entity: str, body: Mapping[str, Any]) -> None:
        super().__init__(-2028, "No matching records found (ODBC -2028)", 404)
        self.entity = entity
        self.body = body


def refusal(code: int, text: str, status: int = 400) -> LedgerAnswer:
    """An error answer in the shape of v2."""
    return LedgerAnswer(
        status, {"error": {"code": str(code), "details": [{"code": "", "message": ""}], "message": text}}
    )
