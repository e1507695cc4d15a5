"""`streams dlq discard | release | retry-now`: a person decides, the poster does it, the command waits for it."""

from datetime import timedelta
from typing import Any

import pytest

from connectors.sap_b1.claims import ENTITY
from schemas.events import OrderPlaced
from schemas.records import ComponentState
from tests import builders
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.cli.posters import PosterBeside
from tests.streams.facts import NOW, World


def order(order_id: str, code: str = "GB-5") -> OrderPlaced:
    """By default with a tax code that is not mapped."""
    line = builders.order_line(sku="A", tax_code=code)
    return builders.order(order_id, line, occurred_at=NOW - timedelta(hours=1))


def dispatch(order_id: str) -> Any:
    return builders.dispatch(f"D{order_id}", order_id, builders.dispatch_line("A"), occurred_at=NOW)


@pytest.fixture
def letters(streams: Streams, poster: PosterBeside) -> dict[str, Any]:
    """Two orders that are dead, a dispatch behind one of them, and one that waits for an order nobody knows."""
    at_once(poster.work_off(order("1"), order("2"), dispatch("1"), dispatch("7")))
    found = {f"{x['event_type']} {x['order_id']}": x for x in streams("dlq", "list", "--json").data}
    assert sorted((name, letter["state"]) for name, letter in found.items()) == [
        ("dispatch_confirmed 1", "held"),
        ("dispatch_confirmed 7", "parked"),
        ("order_placed 1", "dead"),
        ("order_placed 2", "dead"),
    ]
    return found


def test_discard_wants_a_reason_and_a_selection(streams: Streams, letters: dict[str, Any]) -> None:
    for arguments in (("--order", "1"), ("--order", "1", "--why", " "), ("--why", "by hand")):
        ran = streams("dlq", "discard", *arguments, "--yes")
        assert (ran.code, ran.out) == (2, "")
    assert len(streams("dlq", "list", "--json").data) == 4


def test_without_yes_nothing_is_discarded_and_nothing_is_in_the_audit(
    streams: Streams, letters: dict[str, Any]
) -> None:
    ran = streams("dlq", "discard", letters["order_placed 1"]["id"], "--why", "by hand")
    assert (ran.code, "nothing is changed; with --yes" in ran.out) == (1, True)
    assert (len(streams("dlq", "list", "--json").data), streams("audit", "--json").data) == (4, [])


def test_what_is_discarded_keeps_its_id_and_leaves_the_list(
    streams: Streams, letters: dict[str, Any], poster: PosterBeside
) -> None:
    id_ = letters["order_placed 1"]["id"]
    ran = streams("dlq", "discard", id_[:8], "--why", "keyed by hand", "--by", "ada", "--yes", "--json")
    assert (ran.code, ran.data) == (0, {"discarded": 1, "already_there": 0, "failed": 0, "waiting": 0})
    assert id_ not in [letter["id"] for letter in streams("dlq", "list", "--json").data]
    (listed,) = streams("dlq", "list", "--state", "discarded", "--json").data
    assert (listed["id"], listed["reason"]) == (id_, "unmapped_tax_code")
    assert streams("dlq", "show", id_, "--json").data["by"] == "ada"
    claims = poster.b1.company.rows(ENTITY).values()
    assert [row["U_STATE"] for row in claims] == ["discarded"]
    begun, ended = streams("audit", "--json").data
    assert (begun["action"], begun["by"], begun["why"]) == ("dlq discard", "ada", "keyed by hand")
    assert begun["company"] == "acme"
    assert '"discarded": 1' in ended["result"]
    again = streams("dlq", "discard", id_, "--why", "keyed by hand", "--yes", "--json")
    assert again.code == 1
    assert streams("audit", "verify").code == 0


def test_a_selection_is_discarded_at_once(streams: Streams, letters: dict[str, Any]) -> None:
    ran = streams("dlq", "discard", "--reason", "unmapped_tax_code", "--state", "dead", "--why", "x", "--yes", "--json")
    assert (ran.code, ran.data["discarded"]) == (0, 2)
    left = streams("dlq", "list", "--json").data
    assert [(letter["event_type"], letter["state"]) for letter in left] == [("dispatch_confirmed", "parked")] * 2


@pytest.mark.parametrize("command", ["release", "retry-now"])
def test_what_waits_is_tried_at_once(streams: Streams, letters: dict[str, Any], command: str) -> None:
    ran = streams("dlq", command, "--json")
    assert (ran.code, ran.data) == (1, {"posted": 0, "already_there": 0, "failed": 0, "waiting": 2})
    assert streams("dlq", "release", "--order", "2").code == 1
    ended = streams("audit", "--json").data[-1]
    assert ended["action"] == f"dlq {command}"


def test_what_holds_no_order_and_was_no_posting_is_discarded_without_a_worker(
    streams: Streams, world: World, poster: PosterBeside
) -> None:
    poster.runs = False
    at_once(world.letter("order_placed", b"\xff", id="u1", reason="unreadable", company=""))
    ran = streams("dlq", "discard", "u1", "--why", "noise", "--yes", "--json")
    assert (ran.code, ran.data["discarded"]) == (0, 1)
    assert streams("dlq", "list", "--json").data == []


def test_without_a_worker_it_says_so_and_the_worker_does_it_later(
    streams: Streams, letters: dict[str, Any], poster: PosterBeside
) -> None:
    poster.runs = False
    id_ = letters["order_placed 2"]["id"]
    ran = streams("dlq", "discard", id_, "--why", "by hand", "--yes", "--timeout", "0.5")
    assert ran.code == 1
    assert "the poster of acme has not answered" in ran.out
    poster.runs = True
    at_once(poster.work_off())
    assert [letter["id"] for letter in streams("dlq", "list", "--state", "discarded", "--json").data] == [id_]


def test_where_the_company_is_held_it_says_why_and_who_acts(
    streams: Streams, letters: dict[str, Any], poster: PosterBeside, world: World
) -> None:
    poster.runs = False
    held = ComponentState(
        kind="company", name="acme", state="held", reason="password_refused", since=NOW, at=NOW, worker="w:1"
    )
    at_once(world.log.send("component-state", 0, b"company/acme", world.codec.encode(held)))
    id_ = letters["order_placed 2"]["id"]
    ran = streams("dlq", "discard", id_, "--why", "by hand", "--yes", "--timeout", "0.5")
    assert ran.code == 1
    assert "acme: B1 refuses the password since" in ran.out
    assert "platform acts" in ran.out
