"""What a source registers, what it is given, and how signatures are compared."""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from connectors.base.settings import Secret
from connectors.base.source import RefusedRecord
from schemas.events import FactEvent

Pushed = FactEvent | RefusedRecord


class UnreadablePushError(ValueError):
    """A delivery is genuine and cannot be read; the message has no values of it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request.

    Attributes:
        body: Every byte of it, as it came.
        headers: By lower-case name. A header that came twice is not here: two parties could read it differently.
        received_at: Aware UTC.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Hook:
    """What a source registers.

    Attributes:
        connector: Its name in the configuration.
        company: The company it feeds.
        path: Where its vendor sends to, `/shop`.
        secrets: One, or two while they rotate; none is refused.
        verify: Whether the delivery was signed with one of the secrets; raises nothing, opens nothing. `matches`
            compares.
        translate: What it says, under the source's own identities; no levels. May raise `UnreadablePushError`, which
            makes a dead letter of the body.
        delivery_id: The vendor's name of this delivery, if it has one; the same with the same body is taken once.
        taken: Called once the broker has all that a delivery says; raises nothing, opens nothing.
    """

    connector: str
    company: str
    path: str
    secrets: tuple[Secret, ...]
    verify: Callable[[Delivery, Sequence[bytes]], bool]
    translate: Callable[[Delivery], Sequence[Pushed]]
    delivery_id: Callable[[Delivery], bytes | None] = lambda _delivery: None
    taken: Callable[[Delivery], None] = lambda _delivery: None


def sign(secret: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(secret, message, "sha256")


def matches(given: bytes | None, expected: Iterable[bytes]) -> bool:
    """Whether a signature is one of those expected, in a time that does not tell which, or how much of it was right.

    Compare what was sent, not what it decodes to: base64 has bits that mean nothing.
    """
    found = False
    for each in expected:
        found |= hmac.compare_digest(given or b"", each)
    return found and given is not None
