"""Whether B1 lets us read what a source needs, and what its sweeps cost."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.doctor import Finding, look
from connectors.base.errors import FatalError
from connectors.sap_b1.reading import stock_query
from connectors.sap_b1.reading.rows import DELIVERY_FIELDS, ITEM_FIELDS, order_fields
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.reading.source import may_run, open_session, page_of
from connectors.sap_b1.reading.walks import ITEMS_PER_PAGE, MOVING, Walk, changed_since, newest
from connectors.sap_b1.service_layer import ServiceLayer, describe


async def examine(
    _name: str,
    settings: SapB1Settings,
    _wanted: frozenset[str],
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at a company's B1 as its source does; nothing is written there.

    Args:
        _name: The connector's.
        settings: Its, bound to its company.
        _wanted: Of its company's doctor.
        clock: Ours.
        transport: Instead of the network.
    """
    b1 = open_session(settings, clock, transport)
    orders = order_fields(settings.release)
    try:
        findings = [
            await look("items", lambda: _items(b1, settings), "give the user the right to read item master data"),
            await look(
                "orders",
                lambda: _documents(b1, "Orders", orders),
                "give the user the right to read sales orders, and see that release.user_field is a field of them",
            ),
            await look("deliveries", lambda: _documents(b1, "DeliveryNotes", DELIVERY_FIELDS)),
        ]
        findings.append(await look("changes", lambda: _changes(b1, clock)))
        findings.append(await look("movements", lambda: _movements(b1)))
        findings.append(await look("stock_query", lambda: _stock_query(b1, settings)))
        return findings
    finally:
        await b1.close()


async def install(settings: SapB1Settings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
    """Make the stored query for stock, where B1 lets us; what came of it is for `examine` to find.

    Raises:
        ConnectorError: B1 cannot be asked.
    """
    b1 = open_session(settings, clock, transport)
    try:
        await stock_query.install(b1)
    finally:
        await b1.close()


async def _first(b1: ServiceLayer, path: str) -> list[Mapping[str, Any]]:
    (answer,) = await b1.read([path])
    return page_of(answer, Walk(path.partition("?")[0], ""))[0]


async def _items(b1: ServiceLayer, settings: SapB1Settings) -> str:
    count, rows = (
        (await b1.read(["Items/$count"]))[0],
        await _first(b1, f"Items?$select={ITEM_FIELDS}&$orderby=ItemCode&$top=1"),
    )
    there = count.body.get("value") if count.ok and count.body else None
    if not rows:
        return "may be read; there is none yet"
    lists = {each.get("PriceList") for each in rows[0].get("ItemPrices") or ()}
    if lacking := [str(number) for number in settings.price_lists if number not in lists]:
        raise FatalError(f"B1 shows no price list {', '.join(lacking)}; fix price_lists")
    size_kb = len(json.dumps(rows[0], default=str)) / 1024
    if not isinstance(there, int):
        return f"may be read, {size_kb:.0f} kB each; B1 does not count them"
    calls = -(-there // ITEMS_PER_PAGE)
    return (
        f"may be read; without the stored query a sweep of {there} takes {calls} calls and "
        f"{there * size_kb / 1024:.1f} MB, every {settings.sweep_interval_s:.0f} s"
    )


async def _documents(b1: ServiceLayer, entity: str, fields: str) -> str:
    await _first(b1, f"{entity}?$select={fields}&$orderby=DocEntry desc&$top=1")
    return "may be read"


async def _changes(b1: ServiceLayer, clock: Clock) -> str:
    now = clock.now().replace(tzinfo=None)
    walks = [
        Walk("Orders", "DocEntry", changed_since(now)),
        Walk("DeliveryNotes", "DocEntry", changed_since(now)),
        Walk("Items", "ItemCode", changed_since(now, items=True)),
    ]
    for walk, answer in zip(walks, await b1.read([walk.path() for walk in walks]), strict=True):
        page_of(answer, walk)
    return "may be asked for by date and time"


async def _stock_query(b1: ServiceLayer, settings: SapB1Settings) -> str:
    """Whether stock is swept by the stored query; without it all works, at ten times the bytes."""
    if not await stock_query.is_installed(b1):
        return (
            "not there, so sweeps read whole items; streams doctor --install makes it, with a user who may modify SQL "
            "queries in the Service Layer"
        )
    (answer,) = await b1.read([stock_query.StockWalk(next(iter(settings.b1.warehouses))).path()])
    if not may_run(answer):
        raise FatalError(f"B1 does not run {stock_query.CODE}: {describe(answer)}; authorise the user for it")
    return "stock is swept by it"


async def _movements(b1: ServiceLayer) -> str:
    answers: Sequence[Any] = await b1.read([newest(entity) for entity in MOVING])
    unread = [f"{e} ({describe(a)})" for e, a in zip(MOVING, answers, strict=True) if not a.ok]
    if not unread:
        return "all documents that move stock may be read"
    return f"what these move is seen by the sweeps only: {', '.join(unread)}"
