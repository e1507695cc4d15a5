"""What every connector promises, over every row of the registry: a new row needs an entry in CASES, nothing else."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.registry import KINDS
from connectors.veeqo.records import VeeqoAllocation, VeeqoOrder, kept
from connectors.veeqo.source import VeeqoSource
from lab.conformance.case import CANARY, ConformanceCase
from lab.conformance.memory import FixedClock
from lab.conformance.suite import ConnectorConformance
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.state import Account, Line
from schemas.topics import dead_letter_topic
from tests.connectors.ims import stage as ims
from tests.connectors.magento import stage as magento
from tests.connectors.seko import stage as seko
from tests.connectors.shopify import stage as shopify

AT = "2026-11-21T09:30:00Z"
BAD = b'{"type": "stock_adjusted", "event_id": "bad", "sku": "A", "note": "canary@example.com"'
INVALID = json.dumps(
    {"type": "order_placed", "order_id": "o9", "occurred_at": AT, "currency": "GBP", "lines": [], "note": CANARY}
).encode()


def _moves() -> list[bytes]:
    """Deltas, levels (baseline, changed, stale, unchanged), a repeat, and two lines that cannot be taken."""
    base = {"type": "stock_adjusted", "occurred_at": AT, "reason": "count"}
    lines: list[dict[str, Any] | bytes] = [
        {**base, "event_id": "d1", "sku": "A", "location": "MAIN", "delta": "2.5"},
        {**base, "event_id": "l1", "sku": "B", "location": "MAIN", "level": "100", "sequence": 1},
        BAD,
        {**base, "event_id": "l2", "sku": "B", "location": "MAIN", "level": "90", "sequence": 3},
        {**base, "event_id": "l3", "sku": "B", "location": "MAIN", "level": "95", "sequence": 2},
        {**base, "event_id": "l4", "sku": "B", "location": "MAIN", "level": "97", "sequence": 4},
        INVALID,
        {**base, "event_id": "d1", "sku": "A", "location": "MAIN", "delta": "2.5"},
        {**base, "event_id": "l5", "sku": "B", "location": "MAIN", "level": "97", "sequence": 5},
        {"type": "order_cancelled", "event_id": "c1", "order_id": "o1", "occurred_at": AT},
        {**base, "event_id": "l6", "sku": "B", "location": "MAIN", "level": "80.25", "sequence": 6},
    ]
    return [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]


def _fill_inbox(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.ims.source.BATCH_LINES", 4)
    inbox = folder / "in"
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(b"\n".join(_moves()[:8]))
    (inbox / "b.jsonl").write_bytes(b"\n".join(_moves()[8:]))


def _refill_inbox(folder: Path) -> None:
    for path in (folder / "in").glob("done/*"):
        path.rename(folder / "in" / path.name)


def _veeqo_account(clock: Any) -> Account:
    """Orders on three pages; one without lines and one shipment without a time cannot be taken."""
    account = Account(clock.now, canary=CANARY)
    account.add_warehouse(11, "Main")
    account.add_product("A", {11: 100})
    account.add_product("B", {11: 100})
    for number in range(1, 7):
        account.place_order(Line("A", 2, "10.00"), id=number, number=f"#{number}")
    account.dispatch(2, 11, {"A": 1})
    account.cancel(3)
    account.touch(4, line_items=[], customer_note={"text": CANARY})
    account.dispatch(5, 11, {"A": 2}, tracking=CANARY)
    account.orders[5]["allocations"][0]["shipment"]["created_at"] = None
    return account


def _veeqo_source(name: str, settings: Any, clock: Any, _folder: Path) -> VeeqoSource:
    server = VeeqoServer(_veeqo_account(clock), frozenset({CANARY}), lambda: 0.0)
    return VeeqoSource(name, settings, clock, transport=httpx.ASGITransport(server))


def _veeqo_letters() -> tuple[tuple[str, bytes, str, str], ...]:
    account = _veeqo_account(FixedClock())
    order, allocation = account.orders[4], account.orders[5]["allocations"][0]
    return (
        (dead_letter_topic("order-placed"), kept(VeeqoOrder, order), "invalid_event", "orders/4"),
        (dead_letter_topic("dispatch-confirmed"), kept(VeeqoAllocation, allocation), "invalid_event", "orders/5"),
    )


def case_of(kind: str, settings: dict[str, Any], **changes: Any) -> ConformanceCase:
    row = KINDS[kind]
    changes.setdefault("source", lambda name, known, clock, _folder: row.source(name, known, clock))
    return ConformanceCase(settings_model=row.settings, settings={"kind": kind, **settings}, **changes)


CASES = {
    "ims": case_of(
        "ims",
        {"inbox": "in"},
        fill=_fill_inbox,
        facts=frozenset(
            {
                ("stock-adjusted", "d1", "A", "MAIN"),
                *(("stock-adjusted", each, "B", "MAIN") for each in ("l2", "l4", "l6")),
                ("order-cancelled", "c1"),
            }
        ),
        published=6,
        letters=(
            ("inbox-dead-letter", BAD, "unreadable", "a.jsonl"),
            (dead_letter_topic("order-placed"), INVALID, "invalid_event", "a.jsonl"),
        ),
        refused={"inbox": 1, "order_placed": 1},
        refill=_refill_inbox,
        deltas={"d1": Decimal("2.5"), "l2": Decimal(-10), "l4": Decimal(7), "l6": Decimal("-16.75")},
        no_op={"stock_adjusted": 3},
    ),
    "magento": case_of(
        "magento",
        magento.SETTINGS,
        facts=magento.FACTS,
        published=len(magento.FACTS),
        letters=magento.letters_of(FixedClock()),
        refused={"order_placed": 1, "dispatch_confirmed": 1},
        source=magento.source_of,
        environ=magento.ENVIRON,
        first="order-placed",
    ),
    "seko": case_of(
        "seko",
        seko.SETTINGS,
        fill=seko.fill,
        facts=seko.FACTS,
        published=len(seko.FACTS),
        letters=seko.letters_of(FixedClock()),
        refused={"dispatch_confirmed": 1, "stock_adjusted": 1},
        deltas=seko.DELTAS,
        source=seko.source_of,
        environ=seko.ENVIRON,
        first="dispatch-confirmed",
    ),
    "shopify": case_of(
        "shopify",
        shopify.SETTINGS,
        fill=shopify.fill,
        facts=shopify.FACTS,
        published=len(shopify.FACTS),
        letters=shopify.letters_of(FixedClock()),
        refused={"order_placed": 1},
        source=shopify.source_of,
        environ=shopify.ENVIRON,
        no_op={"stock_adjusted": 1},
        first="order-placed",
    ),
    "veeqo": case_of(
        "veeqo",
        {"api_key": "env:VEEQO_KEY", "page_size": 2},
        facts=frozenset(
            {
                *(("order-placed", each) for each in "12356"),
                ("dispatch-confirmed", "6011"),
                ("order-cancelled", "3-cancelled"),
            }
        ),
        published=7,
        letters=_veeqo_letters(),
        refused={"order_placed": 1, "dispatch_confirmed": 1},
        source=_veeqo_source,
        environ={"VEEQO_KEY": CANARY},
        no_op={"stock_adjusted": 1},
        first="order-placed",
    ),
}


CASES["ims over sftp"] = replace(
    CASES["ims"],
    settings={"kind": "ims", **ims.SFTP},
    environ=ims.ENVIRON,
    source=ims.sftp_source,
    serve=ims.serve_sftp,
)
CASES["ims over https"] = replace(
    CASES["ims"], settings={"kind": "ims", **ims.HTTPS}, environ=ims.ENVIRON, source=ims.https_source
)


class TestEveryKind(ConnectorConformance):
    @pytest.fixture(params=sorted(CASES))
    def connector_case(self, request: Any) -> ConformanceCase:
        return CASES[request.param]


def test_every_row_has_a_case():
    """B1's has its own in `sap_b1/reading/test_runtime.py`: readings replace one another and are no events."""
    assert {case.settings["kind"] for case in CASES.values()} | {"sap_b1"} == KINDS.keys()
