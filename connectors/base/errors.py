"""Our own errors, one tree, by what the caller does about them.

Foreign exceptions become these where they are met, once.

    ConnectorError              anything that goes wrong at the outside world
    +-- RetriableError          nothing happened: try again, after retry_after_s where the other side said so
    |   +-- LogUnavailableError Kafka does not answer (it is a LogError too)
    |   +-- AnswerTooLargeError (http.py), NotSentError, UnavailableError (sap_b1), SekoServiceError (seko) ...
    +-- RejectedError           this record will never be taken as it is: dead-letter it
    |   +-- RecordError         a vendor's record is not what it must be, before it was an event
    |   +-- Refusal             an event is refused for one of the reasons of the contract
    +-- OutcomeUnknownError     sent, and nobody knows whether it was applied: find out before sending again
    |   +-- AnswerUnknownError  (sap_b1)
    +-- FatalError              a person has to act; what it happened to is held
    |   +-- LogRefusedError     Kafka refuses what was asked (it is a LogError too)
    |   +-- CredentialsRefusedError, CursorUnusableError, PasswordRefusedError (sap_b1)
    +-- LogError                Kafka did not do what was asked, or did not say so in time

A module may refine a leaf for its own callers; the handler of the leaf's parent must then still be right. A new branch
is added here and to architecture section 11, or not at all. No message holds a secret or personal data.
"""

from schemas.letters import REASONS


class ConnectorError(Exception):
    """Anything that goes wrong at the outside world. The message holds no secrets and no personal data.

    Attributes:
        hold_reason: What it is where it holds a company or connector, a name of `schemas.components.HOLD_REASONS`;
            None: as whoever is held by it says.
    """

    hold_reason: str | None = None


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


class RecordError(RejectedError):
    """A vendor's record cannot become an event. The message has every problem, up to five, and none of the values."""


class Refusal(RejectedError):  # noqa: N818 -- a name of the contract: it is an answer, decided by us or by B1
    """A record refused for one of the reasons of the contract (contract section 6).

    Attributes:
        reason: A name of `schemas.letters.REASONS`.
        error: In our own words: what was wrong, where, what to do. No personal data, no secrets.
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
    """Sent, and nobody knows whether it was applied (architecture section 4)."""


class FatalError(ConnectorError):
    """A person has to act: credentials, configuration, damaged state.

    Attributes:
        retry_in_s: When asking again does no harm, in seconds; None: nobody knows.
    """

    retry_in_s: float | None = None


class CredentialsRefusedError(FatalError):
    """The other side knows us not, or does not let us do it."""

    hold_reason = "token_refused"


class CursorUnusableError(FatalError):
    """What is stored of how far a source was read cannot be used."""

    hold_reason = "cursor_bad"


class LogError(ConnectorError):
    """Kafka did not do what was asked, or did not say so in time; one of the two below.

    After a failed send nobody knows whether the record lies in the log: sending it again may write it twice, and its
    readers must know it by its identity.
    """


class LogUnavailableError(LogError, RetriableError):
    """The same call may succeed later."""


class LogRefusedError(LogError, FatalError):
    """The same call never will succeed."""


def log_error(message: str, *, retriable: bool) -> LogError:
    """The error of a call to Kafka that failed, by whether the same call may succeed later."""
    return LogUnavailableError(message) if retriable else LogRefusedError(message)


def _refusal(reason: str, error: str, waits_for: str | None) -> Refusal:
    return Refusal(reason, error, waits_for=waits_for)
