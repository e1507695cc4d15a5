"""`streams status` and `streams order` name what does not work: reason, since when, who acts."""

from datetime import timedelta

from schemas.records import ComponentState
from streams.telemetry.component_states import key_of
from tests.streams.cli.conftest import Streams, at_once, folder, now, streams, world
from tests.streams.facts import NOW, World, order

__all__ = ["folder", "now", "streams", "world"]  # fixtures

HELD = ComponentState(
    kind="company",
    name="acme",
    state="held",
    reason="password_refused",
    detail="code 100000027",
    since=NOW - timedelta(hours=1),
    owner="platform",
    waiting=4,
    at=NOW,
    worker="w:1",
)


def publish(world: World, state: ComponentState) -> None:
    at_once(world.log.send("component-state", 0, key_of(state), world.codec.encode(state)))


def test_status_names_what_is_held(streams: Streams, world: World) -> None:
    assert "held" not in streams("status", "--json").data
    publish(world, HELD)
    (held,) = streams("status", "--json").data["held"]
    assert (held["name"], held["reason"], held["owner"], held["waiting"]) == ("acme", "password_refused", "platform", 4)
    assert held["since"] == HELD.since.isoformat()
    assert "held: company acme: B1 refuses the password since" in streams("status").out
    assert "4 wait, platform acts" in streams("status").out


def test_an_order_that_is_under_way_in_a_held_company_says_why_and_who_acts(streams: Streams, world: World) -> None:
    at_once(world.fact("order_placed", order("1001")))
    event = streams("order", "1001", "--json").data["orders"][0]["events"][0]
    assert (event["state"], event["why"]) == ("in_flight", None)
    publish(world, HELD)
    event = streams("order", "1001", "--json").data["orders"][0]["events"][0]
    assert (event["why"]["reason"], event["why"]["owner"]) == ("password_refused", "platform")
    assert event["why"]["error"].startswith("acme: B1 refuses the password since ")
    assert "[platform: companies.*.password" in streams("order", "1001").out


def test_an_order_nobody_knows_may_wait_in_a_connector_that_is_held(streams: Streams, world: World) -> None:
    shop = ComponentState(
        kind="connector", name="shop", state="held", reason="token_refused", since=NOW, owner="integration", at=NOW,
        worker="w:1",
    )  # fmt: skip
    publish(world, shop)
    ran = streams("order", "nobody")
    assert (ran.code, "connector shop: the vendor refuses our credentials" in ran.err) == (1, True)
    assert streams("order", "nobody", "--json").data["held"][0]["name"] == "shop"
