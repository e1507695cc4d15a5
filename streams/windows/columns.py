"""Which columns of a stock event the window reads."""

from schemas.decoder import Run

#: What the hot path reads of a stock event; decimals and times come as ints of millionths and microseconds.
STOCK_PARTS = (
    Run(("source", "company")),
    "event_id",
    "occurred_at",
    "digest",
    Run(("sku", "location")),
    "delta",
    Run(("reason", "to_location", "batches", "serials")),
)
