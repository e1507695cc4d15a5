"""What SEKO's hub really answers: the key, each service that is polled, and whether what it says can be taken."""

from datetime import timedelta
from functools import partial
from uuid import UUID

import httpx

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.doctor import Examination, Finding, examination
from connectors.base.errors import RetriableError
from connectors.base.source import RefusedRecord
from connectors.seko.client import SekoClient
from connectors.seko.hub import SekoHub
from connectors.seko.identities import lacks_identity, with_stand_ins
from connectors.seko.settings import SekoOutSettings, SekoSettings, Service
from connectors.seko.translate import translate
from schemas.events import DispatchConfirmed, StockAdjusted


async def examine(
    name: str,
    settings: SekoSettings,
    wanted: frozenset[str],
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at the hub's last day; nothing is written there.

    Args:
        name: The connector's.
        settings: Its.
        wanted: Facilities, and places in them, that the configuration names.
        clock: Ours.
        transport: Instead of the network.
    """
    seen: set[str] = set()
    async with examination(clock, partial(SekoClient, settings, clock), transport) as (exam, client):
        for service in settings.polled:
            await exam.check(service, partial(_service, client, service, name, settings, clock, seen))
        if not settings.polled:
            exam.note("polls", "none: there is no api_key, so a push that never came is not found")
        elif exam.observed.headers:
            exam.check_clock()
            _places(exam, name, seen, wanted)
        if settings.push_secrets:
            path = settings.push_path or f"/{name}"
            exam.note("webhooks", f"taken at {path}; where iHub sends to, no call shows: look at its push services")
        else:
            exam.note("webhooks", f"none configured: a change is seen within {settings.poll_interval_s:g} s")
        if settings.out is not None:
            await exam.check("out", partial(_out, settings, settings.out, clock, transport))
        return exam.findings


async def _out(
    settings: SekoSettings, out: SekoOutSettings, clock: Clock, transport: httpx.AsyncBaseTransport | None
) -> str:
    """Ask iHub for an order that nobody has loaded."""
    hub = SekoHub(settings, out, clock, transport)
    try:
        is_there = await hub.has_order(str(UUID(int=0)))
    finally:
        await hub.close()
    if is_there is None:
        return 'answers; orders cannot be looked for by our id: see out.paths.status, or write paths = { status = "" }'
    return "answers, and can be asked for an order by our id"


async def _service(
    client: SekoClient, service: Service, name: str, settings: SekoSettings, clock: Clock, seen: set[str]
) -> str:
    now = clock.now()
    found = with_stand_ins(await client.between(service, now - timedelta(days=1), now), settings)
    context = EventContext(name, settings.company, settings, now)
    # What has no identity serves as a control of the pushes, see the source.
    usable = [message for message in found if not lacks_identity(message, settings)]
    items = [item for message in usable for item in translate(message, context)]
    seen |= {item.location for item in items if isinstance(item, DispatchConfirmed | StockAdjusted)}
    refused = [item for item in items if isinstance(item, RefusedRecord)]
    if refused:
        # The dead letter's own words: which field, and the setting that names it.
        raise RetriableError(
            f"{len(refused)} of {len(found)} messages of the last day cannot be taken: {refused[0].error}"
        )
    numbered = sum(message.sequence is not None for message in found)
    unusable = len(found) - len(usable)
    control = f"; {unusable} have no identity and only control the pushes" if unusable else ""
    return (
        f"answers; {len(found)} messages of the last day, all can be taken, {numbered} have their "
        f"SequenceNumber{control}"
    )


def _places(exam: Examination, name: str, seen: set[str], wanted: frozenset[str]) -> None:
    """SEKO lists its facilities nowhere: those of the last day's messages must be mapped."""
    unmapped = sorted(seen - wanted)
    if unmapped:
        where = f"connectors.{name}.locations, or the warehouses that {name} owns"
        exam.fail("places", f"goods moved in {', '.join(unmapped)}, which nothing maps", f"fix {where}")
        return
    silent = sorted(wanted - seen)
    quiet = f"; no message was of {', '.join(silent)}" if silent else ""
    exam.note("places", f"all that messages were of are mapped{quiet}")
