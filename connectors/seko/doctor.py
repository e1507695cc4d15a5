"""What SEKO's hub really answers: the key, each service that is polled, and whether what it says can be taken."""

from datetime import timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.doctor import Finding, ObservedTransport, look
from connectors.base.errors import RetriableError
from connectors.base.source import RefusedRecord
from connectors.seko.client import Client
from connectors.seko.settings import SekoSettings, Service
from connectors.seko.translate import Voice, translate
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
    heard = ObservedTransport(transport)
    client = Client(settings, transport=heard)
    seen: set[str] = set()
    try:
        findings = [
            await look(service, lambda service=service: _service(client, service, name, settings, clock, seen))  # type: ignore[misc]  # the loop's value, bound
            for service in settings.polled
        ]
        if not settings.polled:
            findings.append(Finding("polls", True, "none: there is no api_key, so a push that never came is not found"))
        elif heard.headers:
            findings.append(heard.skew(clock))
            findings.append(_places(name, seen, wanted))
        return [*findings, _pushes(name, settings)]
    finally:
        await client.close()
        await heard.aclose()


async def _service(
    client: Client, service: Service, name: str, settings: SekoSettings, clock: Clock, seen: set[str]
) -> str:
    now = clock.now()
    found = await client.between(service, now - timedelta(days=1), now)
    voice = Voice(name, settings.company, settings, now)
    said = [translate(message, voice) for message in found]
    for item in (each for items in said for each in items):
        if isinstance(item, DispatchConfirmed | StockAdjusted):
            seen.add(item.location)
    refused = [item for items in said for item in items if isinstance(item, RefusedRecord)]
    if refused:
        # The letter's own words: which field, and the setting that mends it.
        raise RetriableError(
            f"{len(refused)} of {len(found)} messages of the last day cannot be taken: {refused[0].error}"
        )
    numbered = sum(message.sequence is not None for message in found)
    return f"answers; {len(found)} messages of the last day, all can be taken, {numbered} have their SequenceNumber"


def _places(name: str, seen: set[str], wanted: frozenset[str]) -> Finding:
    """SEKO lists its facilities nowhere: those of the last day's messages must be mapped."""
    unmapped = sorted(seen - wanted)
    if unmapped:
        where = f"connectors.{name}.locations, or the warehouses that {name} owns"
        return Finding("places", False, f"goods moved in {', '.join(unmapped)}, which nothing maps", f"mend {where}")
    silent = sorted(wanted - seen)
    quiet = f"; nothing was heard of {', '.join(silent)}" if silent else ""
    return Finding("places", True, f"all that were heard of are mapped{quiet}")


def _pushes(name: str, settings: SekoSettings) -> Finding:
    if not settings.push_secrets:
        return Finding("webhooks", True, f"none configured: a change is seen within {settings.poll_interval_s:g} s")
    path = settings.push_path or f"/{name}"
    return Finding("webhooks", True, f"taken at {path}; where iHub sends to, no call shows: look at its push services")
