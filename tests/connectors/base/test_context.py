"""An event gets its header from its context, and its digest once it is valid."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from connectors.base.context import EventContext, sealed
from connectors.base.errors import RecordError
from schemas.events import StockAdjusted, digest_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CONTEXT = EventContext("wh", "acme", None, NOW)


def adjusted(**changes) -> StockAdjusted:
    event = StockAdjusted(
        **CONTEXT.header("adj:7", NOW - timedelta(hours=1)),
        sku="TEA-250",
        location="DCCL01",
        delta=Decimal(-4),
        reason="other",
    )
    return replace(event, **changes)


def test_a_sealed_event_has_its_header_and_its_digest():
    event = sealed(adjusted(), "fix it")
    assert (event.source, event.company, event.event_id) == ("wh", "acme", "adj:7")
    assert (event.occurred_at, event.observed_at) == (NOW - timedelta(hours=1), NOW)
    assert event.digest == digest_of(event) != b""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sku": " "}, "its stock_adjusted is not valid: sku is empty; fix it at SEKO"),
        ({"delta": Decimal("0.0000001")}, "its stock_adjusted is not valid: delta does not fit"),
        (
            {"occurred_at": NOW + timedelta(days=2)},
            "its stock_adjusted is not valid: occurred_at is more than a day ahead",
        ),
    ],
)
def test_an_event_that_is_not_valid_is_refused_without_its_values(changes, text):
    with pytest.raises(RecordError, match=text) as caught:
        sealed(adjusted(**changes), "fix it at SEKO")
    assert "TEA-250" not in str(caught.value)
