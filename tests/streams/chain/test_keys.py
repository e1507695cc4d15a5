"""K: equal for one identity on every machine and for ever, different for every other."""

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPE_NAMES, BatchQuantity, FactEvent, identity
from schemas.records import DocumentLine, StockBatch
from streams.chain.keys import batch_key, document_key, event_key, invoice_key, key_of, order_key
from tests import builders
from tests.strategies import examples, fact, facts, names, read_example, stock_batches
from tests.streams.facts import dispatch, order

SHAPE = re.compile(r"[a-z_]+-[A-Z2-7]{26}")
PARTS = st.lists(names | st.none() | st.integers() | st.lists(names, max_size=3), max_size=4)


def batch(**changes: Any) -> StockBatch:
    two = {"event_ids": ("e1", "e2"), "offsets": (7, 9), "deltas": (Decimal(1), Decimal(2)), "digests": bytes(32)}
    return builders.batch(net=3, **{**two, **changes})


def test_keys_that_lie_in_customers_databases_never_change() -> None:
    assert event_key(order("1001")) == "order_placed-F73IL3ZHFMSAOLXDWU75VT22SA"
    assert batch_key(batch()) == "stock_batch-RZRH2J6UP4LO7YXPETTUIMOYAK"


@given(facts())
def test_a_key_fits_into_a_b1_code_and_names_its_kind(event: FactEvent) -> None:
    k = event_key(event)
    assert SHAPE.fullmatch(k)
    assert k.startswith(f"{TYPE_NAMES[type(event)]}-")
    assert len(k) <= 50


@given(facts(), names)
def test_only_company_kind_source_and_the_sources_identity_make_the_key(event: FactEvent, other: str) -> None:
    from datetime import timedelta

    later = replace(
        event,
        occurred_at=event.occurred_at + timedelta(days=1),
        digest=b"x" * 16,
        observed_at=event.observed_at + timedelta(1),
    )
    assert event_key(later) == event_key(event)
    assert (event_key(replace(event, source=other)) == event_key(event)) == (other == event.source)
    assert (event_key(replace(event, company=other)) == event_key(event)) == (other == event.company)


@pytest.mark.parametrize("kind", sorted(TYPE_NAMES.values()))
@given(data=st.data())
@settings(max_examples=20)
def test_two_identities_never_share_a_key(kind: str, data: st.DataObject) -> None:
    one, two = data.draw(fact(kind)), data.draw(fact(kind))
    same = (one.company, one.source, identity(one)) == (two.company, two.source, identity(two))
    assert (event_key(one) == event_key(two)) == same


@given(PARTS, PARTS)
def test_parts_are_kept_apart(one: list[Any], two: list[Any]) -> None:
    assert (key_of("k", "acme", *one) == key_of("k", "acme", *two)) == (one == two)


def test_another_event_finds_its_order_by_the_source_that_placed_it() -> None:
    assert order_key("acme", "shop", "1001") == event_key(order("1001"))
    assert order_key("acme", "market", "1001") != event_key(order("1001"))
    sent = dispatch("S1", "1001")
    assert invoice_key("acme", "warehouse", "S1") != event_key(sent)


@given(stock_batches(), st.randoms(use_true_random=False))
def test_a_batchs_key_does_not_depend_on_the_order_of_its_members_or_on_where_they_lay(
    drawn: StockBatch, random: Any
) -> None:
    shuffled = list(drawn.event_ids)
    random.shuffle(shuffled)
    moved = replace(
        drawn, event_ids=tuple(shuffled), offsets=tuple(n + 1 for n in drawn.offsets), net=Decimal(0), digests=b""
    )
    assert batch_key(moved) == batch_key(drawn)


@pytest.mark.parametrize(
    "change",
    [
        {"company": "beta"},
        {"source": "till"},
        {"sku": "B"},
        {"location": "RETURNS"},
        {"to_location": "RETURNS"},
        {"reason": "count"},
        {"posting_date": date(2026, 11, 20)},
        {"event_ids": ("e1",)},
        {"event_ids": ("e1", "e2", "e3")},
        {"serials": ("S1",)},
        {"batches": (BatchQuantity(number="L1", quantity=Decimal(3)),)},
    ],
    ids=str,
)
def test_every_part_of_a_batchs_composition_is_in_its_key(change: dict[str, Any]) -> None:
    assert batch_key(replace(batch(), **change)) != batch_key(batch())


def test_two_sealed_documents_never_share_a_key() -> None:
    line = DocumentLine(item_code="A", warehouse="LON1", reason="found", quantity=Decimal(3))
    keys = {
        document_key("acme", 0, bytes(16), [line], ["b1"]),
        document_key("beta", 0, bytes(16), [line], ["b1"]),
        document_key("acme", 1, bytes(16), [line], ["b1"]),
        document_key("acme", 0, b"x" * 16, [line], ["b1"]),
        document_key("acme", 0, bytes(16), [replace(line, quantity=Decimal(4))], ["b1"]),
        document_key("acme", 0, bytes(16), [line], ["b2"]),
    }
    assert len(keys) == 6


def test_every_example_has_a_key_of_its_own() -> None:
    events = [read_example(path) for path in examples()]
    assert len({event_key(event) for event in events}) == len(
        {(type(e), e.company, e.source, identity(e)) for e in events}
    )
