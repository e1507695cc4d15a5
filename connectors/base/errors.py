"""Our own errors, by what the caller does about them. Foreign exceptions are translated to these at the door, once."""

from schemas.letters import REASONS


class ConnectorError(Exception):
    """Anything that goes wrong at the outside world. The message holds no secrets and no personal data."""


class RetriableError(ConnectorError):
    """Nothing happened; try again.

    Attributes:
        retry_after_s: How long the other side asked us to wait; None: as the caller's back-off says.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RejectedError(ConnectorError):
    """This record will never be taken as it is: dead-letter it."""


class Refusal(RejectedError):  # noqa: N818 -- a name of the contract: it is an answer, decided by us or by B1
    """A record refused for one of the reasons of the contract (section 6).

    Attributes:
        reason: A name of `schemas.letters.REASONS`.
        error: In our own words: what was wrong, where, what mends it. No personal data, no secrets.
        waits_for: What releases it, where the reason is one that parks: a K, `item:CODE`, `period:DATE` ...
    """

    def __init__(self, reason: str, error: str, *, waits_for: str | None = None) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason} is not one of schemas.letters.REASONS")
        super().__init__(f"{reason}: {error}")
        self.reason = reason
        self.error = error
        self.waits_for = waits_for

    def __reduce__(self) -> tuple[object, ...]:
        return _refusal, (self.reason, self.error, self.waits_for)


class OutcomeUnknownError(ConnectorError):
    """Sent, and nobody knows whether it landed (design section 4)."""


class FatalError(ConnectorError):
    """Stop the process: credentials, configuration, damaged state. A person has to act."""


def _refusal(reason: str, error: str, waits_for: str | None) -> Refusal:
    return Refusal(reason, error, waits_for=waits_for)
