"""Stock adjustments: rows without a price; the reason is read from their text."""

import re
from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal

from lab.feed.company import PLACES, UNMAPPED
from lab.feed.context import FeedContext
from lab.feed.feed import FeedEntry
from lab.feed.rows import Row, kind_of_code
from lab.feed.texts import decimal_text, json_line

# The first that is found in an adjustment's text wins; no text is a count, any other text "other".
_REASONS = (
    (
        "damaged",
        re.compile("damag|brea?k|broke|crack|wet|rust|mould|smash|crush|fault|thro?w|unsale|destroy|wax|smudge"),
    ),
    ("lost", re.compile(r"lost|missing|\bmia\b|can't find|not rcvd|mystery")),
    ("found", re.compile("found|put aside")),
    ("count", re.compile(r"check|count|adjust|stock|wrong|marked|^\?+$|^$")),
)


def adjustments_of(context: FeedContext, rows: list[Row]) -> Iterator[FeedEntry]:
    given_away = any(row.price > 0 for row in rows)
    web = any(row.code.upper() == "DOT" for row in rows)
    for number, row in enumerate((row for row in rows if row.price == 0), 1):
        if not row.is_item:
            context.left_out[f"no item: {kind_of_code(row.code)}"] += 1
            continue
        if not row.quantity:
            context.left_out["adjustments of nothing"] += 1
            continue
        delta = -row.quantity if given_away else row.quantity
        text = row.text.lower()
        reason = "other" if given_away else next((name for name, words in _REASONS if words.search(text)), "other")
        code = "WEB1" if web or "dotcom" in text else "LON1"
        amazon = "amazon" in text
        if not amazon:
            context.note_item(row, "")
            context.taken[row.item, code] += max(-delta, Decimal(0))
        context.counts["stock_adjusted"] += 1
        context.counts["stock_adjusted at an unmapped location"] += amazon
        at = row.at.astimezone(UTC)
        event_id = f"ADJ-{row.invoice}-{number}"
        event = {
            "type": "stock_adjusted",
            "event_id": event_id,
            "occurred_at": context.written(at),
            "sku": row.code,
            "location": UNMAPPED if amazon else PLACES[code],
            "delta": decimal_text(delta),
            "reason": reason,
            "note": row.text or None,
        }
        yield FeedEntry(at, event_id, json_line(event))
