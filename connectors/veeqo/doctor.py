"""What a Veeqo account really lets us see, and how its lists behave where the documentation is silent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.doctor import Finding, examination
from connectors.base.errors import FatalError
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.settings import VeeqoSettings

_MAX_PAGES = 20


async def examine(
    name: str,
    settings: VeeqoSettings,
    wanted: frozenset[str],
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at an account; nothing is written there.

    Args:
        name: The connector's.
        settings: Its.
        wanted: Ids of warehouses that the configuration names.
        clock: Ours.
        transport: Instead of the network.
    """
    async with examination(clock, lambda wire: VeeqoClient(settings, clock, wire), transport) as (exam, client):
        there: dict[str, str] = {}

        async def ask_warehouses() -> str:
            there.update(await _warehouses(client))
            return f"{settings.url} answers, and takes the key"

        if not await exam.check("credentials", ask_warehouses):
            return exam.findings
        exam.check_clock()
        exam.check_places(
            {*wanted, *settings.ignored_warehouses, *(settings.out.written if settings.out else ())},
            there,
            f"connectors.{name}.locations and ignored_warehouses, or the warehouses that {name} owns",
        )
        reads_orders = bool({"orders", "dispatches"} & set(settings.reads))
        if reads_orders and await exam.check("orders", lambda: _orders(client, settings)):
            await exam.check("updated_at_min", lambda: _bounds(client, clock))
        if "stock" in settings.reads:
            await exam.check("products", lambda: _products(client))
        exam.note("webhooks", f"Veeqo has none: a change is seen within {settings.poll_interval_s:g} s")
        return exam.findings


async def _warehouses(client: VeeqoClient) -> dict[str, str]:
    found: dict[str, str] = {}
    for number in range(1, _MAX_PAGES + 1):
        page = await client.page("/warehouses", {"page": number, "page_size": 100})
        rows = {str(row.get("id")): str(row.get("name") or "") for row in page.rows if isinstance(row, Mapping)}
        if not rows.keys() - found.keys():
            break
        found |= rows
    return found


async def _orders(client: VeeqoClient, settings: VeeqoSettings) -> str:
    page = await client.page("/orders", {"page": 1, "page_size": settings.page_size})
    tells = f"the list says it has {page.total}" if page.total is not None else "the list does not say how long it is"
    return f"may be read; {tells}, {len(page.rows)} came of the {settings.page_size} asked for"


async def _products(client: VeeqoClient) -> str:
    page = await client.page("/products", {"page": 1, "page_size": 1})
    sellables = [
        each
        for row in page.rows
        if isinstance(row, Mapping) and isinstance(row.get("sellables"), list)
        for each in row["sellables"]
        if isinstance(each, Mapping)
    ]
    if sellables and not any("stock_entries" in each or "inventory" in each for each in sellables):
        raise FatalError("veeqo: products come without their stock; give the key's user the right to view inventory")
    return "may be read, with what lies in each warehouse" if sellables else "may be read; there is none yet"


async def _bounds(client: VeeqoClient, clock: Clock) -> str:
    """Whether `updated_at_min` means UTC: asked a minute before and a minute after the change of one order."""
    rows = (await client.page("/orders", {"page": 1, "page_size": 100})).rows
    newest = max(filter(None, map(_updated_at, rows)), default=None)
    if newest is None:
        return "there is no order to try it with yet"
    quiet = clock.now() - newest > timedelta(minutes=2)
    before, after = [
        [
            _updated_at(row)
            for row in (await client.page("/orders", {"page": 1, "page_size": 100, "updated_at_min": _text(at)})).rows
        ]
        for at in (newest - timedelta(minutes=1), newest + timedelta(minutes=1))
    ]
    if newest not in before:
        raise FatalError(
            "veeqo: an order that changed a minute after updated_at_min is not found: the bound is not UTC; raise "
            "overlap_s beyond the difference, and report it"
        )
    if quiet and newest in after:
        return "an order that changed before the bound is found: the bound is later than it says; overlap_s covers it"
    return "means UTC; overlap_s may be lowered to some minutes"


def _updated_at(row: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(row.get("updated_at"))) if isinstance(row, Mapping) else None
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
