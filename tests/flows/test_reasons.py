"""The closed list of reasons: each has its flow, its owner, and what mends it."""

import ast
from pathlib import Path

import pytest

from schemas.letters import REASONS

CONTRACT = {
    "dead": {
        "unreadable",
        "invalid_event",
        "unknown_schema",
        "poison",
        "id_reuse",
        "key_conflict",
        "too_old",
        "unmapped_location",
        "unmapped_item",
        "unmapped_tax_code",
        "unmapped_carrier",
        "location_not_owned",
        "customer_incomplete",
        "address_incomplete",
        "total_mismatch",
        "over_delivered",
        "over_cancelled",
        "over_credited",
        "batch_or_serial_missing",
        "not_permitted",
        "erp_refused",
        "erp_cannot",
        "foreign",
        "channel_refused",
        "format_refused",
    },
    "parked": {
        "order_not_found",
        "invoice_not_found",
        "unknown_item",
        "inactive_item",
        "period_closed",
        "negative_stock",
        "approval_required",
        "item_locked",
        "item_frozen",
        "rate_missing",
        "order_incomplete",
    },
}
#: Reasons whose flows are elsewhere than in this folder: what channels refuse, tests/streams/delivery and the sinks.
ELSEWHERE = {"poison", "channel_refused", "format_refused", "order_incomplete"}


def asked_for() -> set[str]:
    """Reasons that the flows' tests name: every string in them that is the name of one."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name != Path(__file__).name:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found & REASONS.keys()


def test_the_list_is_the_contracts() -> None:
    assert {state: {name for name, row in REASONS.items() if row.ends_as == state} for state in CONTRACT} == CONTRACT


def test_every_reason_of_the_contract_has_a_flow_that_ends_in_it() -> None:
    assert set(REASONS) - asked_for() <= ELSEWHERE


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_an_owner_an_impact_and_what_mends_it(reason: str) -> None:
    row = REASONS[reason]
    assert row.owner
    assert row.impact
    assert row.remedy
