"""K: the identity of one ERP write, built only from identities that the source gave (D1, architecture section 3)."""

import base64
import hashlib
import json
from collections.abc import Sequence

from schemas.events import TYPE_NAMES, FactEvent, identity
from schemas.records import DocumentLine, StockBatch

CHARACTERS = 26  # 130 bits; with the longest kind and a hyphen 45 of the 50 characters that a B1 code takes


def key_of(kind: str, company: str, *parts: object) -> str:
    """`<kind>-<26 characters>`; equal parts give equal keys, on every machine and for ever."""
    text = json.dumps(["v1", company, kind, *parts], ensure_ascii=False, separators=(",", ":"))
    return f"{kind}-{base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:CHARACTERS]}"


def event_key(event: FactEvent) -> str:
    return key_of(TYPE_NAMES[type(event)], event.company, event.source, *identity(event))


def order_key(company: str, source: str, order_id: str) -> str:
    """The K of the order that another event names; `source` is the one that placed it."""
    return key_of("order_placed", company, source, order_id)


def invoice_key(company: str, source: str, shipment_id: str) -> str:
    return key_of("invoice", company, source, shipment_id)


def batch_key(batch: StockBatch) -> str:
    """From the sealed composition, so that fixing a mapping never changes it."""
    lots = [*(lot.number for lot in batch.batches), *batch.serials]
    return key_of(
        "stock_batch",
        batch.company,
        batch.source,
        batch.sku,
        batch.location,
        batch.to_location,
        batch.reason,
        batch.posting_date.isoformat(),
        lots,
        sorted(batch.event_ids),
    )


def document_key(
    company: str, number: int, prev_digest: bytes, lines: Sequence[DocumentLine], batches: Sequence[str]
) -> str:
    """A stock document's K: its place in the chain and what it holds; two sealed records never share one."""
    shape = [[line.item_code, line.warehouse, line.to_warehouse, line.reason, str(line.quantity)] for line in lines]
    return key_of("stock_document", company, number, prev_digest.hex(), shape, list(batches))
