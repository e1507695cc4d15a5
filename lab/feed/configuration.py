"""Configurations that go with a feed: `streams.toml`, and the B1 simulator's."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from lab.feed.company import CARRIERS, CURRENCY, PLACES, SHOP, TAX_CODES, WAREHOUSE, ZONE
from lab.feed.feed import Feed
from lab.feed.texts import quoted


def streams_toml(
    feed: Feed,
    *,
    bootstrap_servers: str,
    service_layer_url: str,
    password: str = "env:ACME_B1_PASSWORD",  # noqa: S107 -- a reference, not a password
    inbox: str = "in",
    company_db: str = "SBO_ACME",
    topic_prefix: str = "",
    window_s: int = 2,
    session_limit: int = 2,
    in_flight: int = 8,
    partitions: int = 12,
    metrics_port: int = 0,
    tax_codes: Mapping[str, str] = TAX_CODES,
    carriers: Mapping[str, int] = CARRIERS,
    partners: str | None = None,
    now: date | None = None,
) -> str:
    """The `streams.toml` that goes with a feed: company `acme`, connectors `shop` and `warehouse` of kind `ims`.

    Args:
        feed: Gives the second spellings of items and the horizon.
        bootstrap_servers: Kafka's.
        service_layer_url: B1's; `http://` on loopback only.
        password: A reference (`env:NAME` or `file:path`) to the B1 user's password.
        inbox: The folder a `FeedWriter` writes into, relative to the file.
        company_db: B1's company database.
        topic_prefix: Put before every topic's name.
        window_s: Length of the stock windows, seconds; short, so that the demo's end does not wait for one.
        session_limit: B1 sessions of the poster.
        in_flight: Requests of the poster at a time.
        partitions: Of the fact topics.
        metrics_port: 0 is any free one.
        tax_codes: The channels' -> B1's.
        carriers: The channels', with or without a service -> B1's ShippingTypes.
        partners: TOML of other warehouses and connectors than those two.
        now: The local day on which it is used, for the horizon; by default the day of the call.
    """
    items = _table(feed.items)
    taxes, shipping = _table(tax_codes), _table(carriers)
    if partners is None:
        partners = _connectors_toml(inbox)
    return f"""\
# Written by the demo, for the data of {feed.first} to {feed.last}.
[kafka]
bootstrap_servers = {quoted(bootstrap_servers)}
topic_prefix = {quoted(topic_prefix)}
partitions = {partitions}
replication_factor = 1
company_partitions = 16
local = true
[metrics]
host = "127.0.0.1"
port = {metrics_port}

[companies.acme]
partition = 0
service_layer_url = {quoted(service_layer_url)}
company_db = {quoted(company_db)}
username = "streams"
password = {quoted(password)}
verify_tls = true
timezone = "{ZONE.key}"
currency = "{CURRENCY}"
session_limit = {session_limit}
in_flight = {in_flight}
dedupe_horizon_days = {feed.horizon_days(now or datetime.now(ZONE).date())}
[companies.acme.window]
length_s = {window_s}
[companies.acme.customers]
policy = "account"
card_code = "C-WEB"
[companies.acme.tax]
field = "VatGroup"
[companies.acme.tax.codes]
{taxes}
[companies.acme.freight]
expense_code = 1
[companies.acme.shipping_types]
{shipping}
[companies.acme.items]  # the same item in its other spelling
{items}
[companies.acme.invoices]
on = "dispatch"
[companies.acme.refunds]
without_order = "post"
adjustment_expense_code = 2
{partners}"""


def _table(rows: Mapping[str, object]) -> str:
    return "\n".join(f"{quoted(name)} = {json.dumps(value)}" for name, value in sorted(rows.items()))


def warehouse_toml(code: str, owner: str, location: str, sellers: Sequence[str], returns_by: str = "refund") -> str:
    """One warehouse of the company, with the accounts of its movements."""
    return f"""
[companies.acme.warehouses.{code}]
owner = "{owner}"
location = "{location}"
sellable_on = {json.dumps(list(sellers))}
returns_by = "{returns_by}"
gl_account = {{ damaged = "5100", lost = "5100", found = "4900", count = "4900" }}
"""


def _connectors_toml(inbox: str) -> str:
    places = "".join(warehouse_toml(code, WAREHOUSE, location, [SHOP]) for code, location in PLACES.items())
    return f"""{places}
[connectors.{SHOP}]
kind = "ims"
company = "acme"
inbox = {quoted(f"{inbox}/{SHOP}")}
poll_interval_s = 0.2
orders = {{ warehouse = "LON1" }}
[connectors.{WAREHOUSE}]
kind = "ims"
company = "acme"
inbox = {quoted(f"{inbox}/{WAREHOUSE}")}
poll_interval_s = 0.2
order_source = "{SHOP}"
"""


def simulator_config(
    feed: Feed,
    *,
    password: str,
    company_db: str = "SBO_ACME",
    speed: float = 0.2,
    seed: int = 1,
    lost_replies: float = 0.03,
    session_limit: int = 4,
    with_claims: bool = False,
) -> dict[str, object]:
    """The configuration of `python -m lab.simulators sap_b1` that goes with a feed.

    Args:
        feed: Gives the master data.
        password: Of the user `streams`.
        company_db: As in `streams_toml`.
        speed: Service times; 1 is a real installation, 0.2 a fifth.
        seed: Of the faults.
        lost_replies: The share of writes that are committed and never answered.
        session_limit: Of the user: the poster's, and one more for a command.
        with_claims: Whether the claim table is there already; else `streams doctor --install` makes it.
    """
    return {
        "seed": seed,
        "speed": speed,
        "timezone": ZONE.key,
        "users": {"streams": password},
        "settings": {"session_limit": session_limit},
        "faults": {"rates": {"lost_reply_after_commit": lost_replies}},
        "companies": {company_db: {"with_claims": with_claims, "master_data": feed.master}},
    }
