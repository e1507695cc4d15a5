"""SEKO's pushes, of all services at one address: who may push, and what a push becomes."""

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime

from connectors.base.context import EventContext
from connectors.base.errors import RecordError
from connectors.seko.journal import Translated
from connectors.seko.places import needs_poll
from connectors.seko.records import SekoMessage, messages
from connectors.seko.settings import SekoSettings
from connectors.seko.translate import translate
from connectors.webhooks.body import parse_json
from connectors.webhooks.hook import Delivery, Hook, Pushed, UnreadablePushError, matches

#: More deliveries than are ever in flight.
_MAX_IN_FLIGHT = 1000


def hook_of(name: str, settings: SekoSettings) -> Hook | None:
    """How SEKO's pushes are taken; None where no secret is configured."""
    if not settings.push_secrets:
        return None
    header = b"authorization" if settings.push_auth == "basic" else settings.push_header.lower().encode()

    def verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
        return matches(delivery.headers.get(header), _expected(secrets, settings.push_auth))

    in_flight: dict[int, tuple[Translated, ...]] = {}  # so that no delivery is translated twice

    def events_of(delivery: Delivery) -> tuple[Pushed, ...]:
        in_flight.pop(id(delivery), None)  # another one's, that was not taken
        translated = _translated(delivery, name, settings)
        if len(in_flight) >= _MAX_IN_FLIGHT:
            in_flight.clear()  # of deliveries that were not taken
        in_flight[id(delivery)] = translated
        return tuple(item for _, items in translated for item in items)

    def taken(delivery: Delivery) -> None:
        settings.journal.add(in_flight.pop(id(delivery), ()), unix_s(delivery.received_at))

    return Hook(
        connector=name,
        company=settings.company,
        path=settings.push_path or f"/{name}",
        secrets=settings.push_secrets,
        verify=verify,
        translate=events_of,
        # A push has no name of its own: the same body is the same push.
        delivery_id=lambda _delivery: b"push",
        taken=taken,
    )


def unix_s(moment: datetime) -> int:
    """Whole seconds of Unix time."""
    return int(moment.timestamp())


def _translated(delivery: Delivery, name: str, settings: SekoSettings) -> tuple[Translated, ...]:
    context = EventContext(name, settings.company, settings, delivery.received_at)
    return tuple(
        (message, () if needs_poll(message, settings) else translate(message, context))
        for message in _pushed(delivery.body)
    )


def _expected(secrets: Iterable[bytes], auth: str) -> list[bytes]:
    return [b"Basic " + base64.b64encode(each) for each in secrets] if auth == "basic" else list(secrets)


def _pushed(body: bytes) -> tuple[SekoMessage, ...]:
    try:
        return messages(parse_json(body))
    except RecordError as error:
        raise UnreadablePushError(str(error)) from None
