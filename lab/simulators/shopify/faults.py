"""What goes wrong with requests, and the errors of GraphQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class RefusedQueryError(Exception):
    """A query is answered by `errors`."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class InjectedAnswer:
    """What happens to the next request.

    Attributes:
        kind: `http` (a status), `graphql` (an error code), `drop`, `html`, `late` (carried out, then dropped),
            `throttled_late` (carried out, then answered by THROTTLED).
        status: Of `http` and `html`.
        code: Of `graphql`.
        headers: Of `http`.
        operation: It waits for a request of this operation; "": the next one.
    """

    kind: str
    status: int = 503
    code: str = "INTERNAL_SERVER_ERROR"
    headers: Mapping[str, str] = field(default_factory=dict)
    operation: str = ""
