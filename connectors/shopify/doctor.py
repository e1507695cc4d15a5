"""What a shop really lets us see.

The token and its scopes, the version, locations, subscriptions, and how it counts.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.doctor import Examination, Finding, examination
from connectors.base.errors import ConnectorError, FatalError
from connectors.shopify.client import ShopifyClient
from connectors.shopify.pages import page_of
from connectors.shopify.queries import LEVELS
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import NO_LOCATION

SCOPES = """query Scopes { currentAppInstallation { accessScopes { handle } } }"""
LOCATIONS = """query Locations($first: Int!, $after: String) {
  locations(first: $first, after: $after, includeInactive: true) {
    nodes { id name isActive } pageInfo { hasNextPage endCursor } } }"""
SUBSCRIPTIONS = """query Subscriptions($first: Int!, $after: String) {
  webhookSubscriptions(first: $first, after: $after) { nodes { id topic } pageInfo { hasNextPage endCursor } } }"""
#: Topics that wake the poll; those of stock only where it is read.
TOPICS = frozenset(
    {
        "ORDERS_CREATE",
        "ORDERS_UPDATED",
        "ORDERS_EDITED",
        "ORDERS_CANCELLED",
        "REFUNDS_CREATE",
        "FULFILLMENTS_CREATE",
        "FULFILLMENTS_UPDATE",
    }
)
_APP = "give the app the scopes of connectors/shopify/README.md, and install it again"


async def examine(
    name: str,
    settings: ShopifySettings,
    wanted: frozenset[str],
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at a shop; nothing is written there.

    Args:
        name: The connector's.
        settings: Its.
        wanted: Ids of locations that the configuration names.
        clock: Ours.
        transport: Instead of the network.
    """
    scopes: set[str] = set()
    async with examination(clock, lambda wire: ShopifyClient(settings, clock, transport=wire), transport) as (
        exam,
        client,
    ):

        async def ask_scopes() -> str:
            answer = await client.query(SCOPES, {})
            found = answer.data.get("currentAppInstallation") or {}
            scopes.update(str(each.get("handle")) for each in found.get("accessScopes") or ())
            return f"{settings.shop} answers, and takes the token"

        if await exam.check("credentials", ask_scopes):
            _check_scopes(exam, scopes, settings)
            _check_version(exam, settings)
            exam.check_clock()
            await _check_places(exam, client, name, settings, wanted)
            await _check_subscriptions(exam, client, settings)
            if settings.stock_locations:
                await exam.check("counts", lambda: _counts(client, settings, clock))
        return exam.findings


def _check_scopes(exam: Examination, scopes: set[str], settings: ShopifySettings) -> None:
    needed = {"read_orders", "read_all_orders", "read_locations"}
    if settings.stock_locations:
        needed |= {"read_inventory", "read_products"}
    needed |= settings.scopes_to_write
    # Who may write may read.
    lacking = sorted(each for each in needed - scopes if each.replace("read_", "write_", 1) not in scopes)
    more = sorted(each for each in scopes - needed if each.startswith("write_"))
    if lacking:
        exam.fail("scopes", f"lacking: {', '.join(lacking)}", _APP)
    else:
        exam.note("scopes", "all there" + (f"; more than needed: {', '.join(more)}" if more else ""))


def _check_version(exam: Examination, settings: ShopifySettings) -> None:
    served = exam.observed.headers.get("x-shopify-api-version")
    detail = f"asked for {settings.api_version}, answered by {served or 'one that is not named'}"
    if served in (None, settings.api_version):
        exam.note("api_version", detail)
    else:
        exam.fail("api_version", detail, "Shopify has retired it: install a newer b1-streams")


async def _check_places(
    exam: Examination, client: ShopifyClient, name: str, settings: ShopifySettings, wanted: frozenset[str]
) -> None:
    try:
        rows = await client.pages(LOCATIONS, {}, ("locations",), 50) or []
    except ConnectorError as error:
        exam.failed("places", error, _APP)
        return
    there = {str(row.get("id")).rpartition("/")[2]: row for row in rows if isinstance(row, Mapping)}
    told = {settings.out.location} if settings.out is not None and settings.out.location is not None else set()
    asked = {*wanted, *settings.stock_locations, *told} - {NO_LOCATION}
    inactive = sorted(each for each in asked if each in there and there[each].get("isActive") is False)
    if inactive:
        exam.fail("places", f"not active: {', '.join(inactive)}", "activate them at Shopify, or take them out")
        return
    where = f"connectors.{name}.locations and stock_locations, or the warehouses that {name} owns"
    exam.check_places(asked, {each: str(row.get("name") or "") for each, row in there.items()}, where)


async def _check_subscriptions(exam: Examination, client: ShopifyClient, settings: ShopifySettings) -> None:
    """Those made by API. Those of the app's own configuration, which we recommend, no query shows."""
    if not settings.webhook_secrets:
        exam.note("webhooks", f"none configured: a change is seen within {settings.poll_interval_s:g} s")
        return
    try:
        rows = await client.pages(SUBSCRIPTIONS, {}, ("webhookSubscriptions",), 50) or []
    except ConnectorError as error:
        exam.note("webhooks", f"cannot be seen ({error}); look at the app's configuration")
        return
    topics = {str(row.get("topic")) for row in rows if isinstance(row, Mapping)}
    needed = TOPICS | ({"INVENTORY_LEVELS_UPDATE"} if settings.stock_locations else set())
    lacking = sorted(needed - topics)
    if not topics & needed:
        exam.note("webhooks", "none made by API; those of the app's configuration no query shows: look there")
    elif lacking:
        remedy = "subscribe in the app's configuration: Shopify removes those made by API after eight failures"
        exam.fail("webhooks", f"made by API, but not for {', '.join(lacking)}", remedy)
    else:
        exam.note("webhooks", f"{len(needed)} topics are subscribed to by API")


async def _counts(client: ShopifyClient, settings: ShopifySettings, clock: Clock) -> str:
    """Whether counts can be asked for by time; if not, each look reads all of them."""
    tomorrow = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: list[Any] = []
    for bound in (f"updated_at:>='{tomorrow}'", None):
        variables: dict[str, Any] = {
            "id": f"gid://shopify/Location/{settings.stock_locations[0]}",
            "query": bound,
            "names": [settings.stock_quantity],
            "first": 10,
            "after": None,
        }
        page = page_of((await client.query(LEVELS, variables)).data, ("location", "inventoryLevels"))
        if page is None:
            raise FatalError(f"shopify: there is no location {settings.stock_locations[0]}; fix stock_locations")
        found.append(page["nodes"])
    late, rows = found
    shared = _shared_skus(rows)
    if late:
        return f"counts cannot be asked for by time: each look reads them all; {shared}"
    return f"counts can be asked for by time; {shared}"


def _shared_skus(rows: Sequence[Any]) -> str:
    numbers = [
        item["duplicateSkuCount"]
        for row in rows
        if isinstance(row, Mapping)
        and isinstance(item := row.get("item"), Mapping)
        and isinstance(item.get("duplicateSkuCount"), int)
    ]
    if not numbers:
        return "no count to look at yet"
    return (
        f"duplicateSkuCount is {min(numbers)} at least, so an item "
        f"{'counts' if min(numbers) else 'does not count'} itself"
    )
