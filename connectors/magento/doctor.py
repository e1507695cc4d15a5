"""What a shop really lets us see: the integration and its permissions list by list, its clock, its sources."""

from collections.abc import Mapping

import httpx

from connectors.base.clock import Clock
from connectors.base.doctor import Examination, Finding, examination
from connectors.base.errors import ConnectorError, RetriableError
from connectors.magento.client import MagentoClient
from connectors.magento.settings import MagentoSettings


async def examine(
    name: str,
    settings: MagentoSettings,
    wanted: frozenset[str],
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at a shop; nothing is written there.

    Args:
        name: The connector's.
        settings: Its.
        wanted: Codes of sources that the configuration names.
        clock: Ours.
        transport: In place of the network.
    """
    async with examination(clock, lambda wire: MagentoClient(name, settings, clock, transport=wire), transport) as (
        exam,
        client,
    ):
        lists = [*settings.flows, *(["invoices"] if settings.virtual_source is not None else [])]
        readable = [await exam.check(each, lambda each=each: _list(client, each, settings)) for each in lists]  # type: ignore[misc]  # the loop's value, bound
        for each in _read_to_write(settings):
            await exam.check(each, lambda each=each: _readable(client, each))  # type: ignore[misc]  # as above
        exam.check_clock()
        if any(readable):
            await _check_sources(exam, client, name, settings, wanted)
        exam.note("webhooks", f"the shop has none: a change is seen within {settings.poll_interval_s:g} s")
        return exam.findings


async def _list(client: MagentoClient, name: str, settings: MagentoSettings) -> str:
    """May be read, as many rows at once as configured, in the order that we walk by."""
    listing = await client.search(name, [], ("updated_at", "entity_id"), settings.page_size)
    times = [(str(row.fields.get("updated_at")), _number(row.fields.get("entity_id"))) for row in listing.rows]
    if times != sorted(times):
        raise RetriableError(
            f"{name} do not come in the order of updated_at; see which module of the shop changes its lists"
        )
    total = "an unknown number" if listing.total is None else str(listing.total)
    return f"may be read, {total} in all, {settings.page_size} at a time"


def _read_to_write(settings: MagentoSettings) -> list[str]:
    """What is read before `out` writes; whether it may be written shows at the first write."""
    out = settings.out
    if out is None or not out.is_on:
        return []
    products = out.stock or out.items or out.prices is not None
    return [*(["products"] if products else []), *(["inventory/source-items"] if out.stock else [])]


async def _readable(client: MagentoClient, name: str) -> str:
    listing = await client.search(name, [], (), 1, store="all")
    return f"may be read, {'an unknown number' if listing.total is None else listing.total} in all"


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0


async def _check_sources(
    exam: Examination, client: MagentoClient, name: str, settings: MagentoSettings, wanted: frozenset[str]
) -> None:
    """The shop's sources where we may see them; else those that its shipments name."""
    ours = {each for each in (settings.source, settings.virtual_source) if each is not None}
    where = f"connectors.{name}.locations, or the warehouses that {name} owns"
    try:
        listing = await client.search("inventory/sources", [], (), settings.page_size)
        there = {str(row.fields.get("source_code")): str(row.fields.get("name") or "") for row in listing.rows}
        # Places that we have named ourselves are no sources of the shop's.
        return exam.check_places(wanted - ours, there, where)
    except ConnectorError:
        # The least permissions do not include them, and a shop without MSI has none.
        pass
    if "shipments" not in settings.flows:
        unseen = "the shop's sources cannot be seen with these permissions, and no shipments are read"
        return exam.note("places", unseen)
    try:
        listing = await client.search("shipments", [], ("entity_id",), settings.page_size)
    except ConnectorError as error:
        return exam.failed("places", error)
    found = [_source_of(row.fields) for row in listing.rows]
    codes = {code for code in found if code is not None}
    unmapped, nameless = sorted(codes - wanted - ours), found.count(None)
    if unmapped:
        return exam.fail("places", f"shipments leave from {', '.join(unmapped)}, which nothing maps", f"fix {where}")
    if nameless and settings.source is None:
        return exam.fail(
            "places",
            f"{nameless} of {len(found)} shipments name no source",
            f"set connectors.{name}.source to the place that they leave from",
        )
    return exam.note("places", f"all there of {', '.join(sorted(codes)) or 'none'}, by {len(found)} shipments")


def _source_of(fields: Mapping[str, object]) -> str | None:
    extra = fields.get("extension_attributes")
    code = extra.get("source_code") if isinstance(extra, dict) else None
    return code if isinstance(code, str) and code else None
