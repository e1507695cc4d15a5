"""Everything that is composed has a budget in bytes: the largest record of each type that we make fits its topic.

One worst case per type, of the limits that the code keeps; a new type without one fails. Events are the exception: one
that is too long is refused where it is made (`connectors.base.publisher`), and epochs and stock documents halve
themselves where what is reckoned here is not enough (tests/streams/windows/test_sizes.py, test_stock.py).
"""

import ast
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.validate import MAX_IDENTITY_CHARS
from schemas.codec import FACT_MAX_BYTES, TYPES, embedded_codec
from schemas.events import EVENT_TYPES, Address
from schemas.letter_bounds import MAX_HEADER_BYTES, MAX_KEY_BYTES, MAX_TEXT_CHARS
from schemas.notices import of_letter
from schemas.readings import (
    CONTENT_BYTES,
    DeliveryLineRead,
    DeliveryPosted,
    EffectState,
    ItemChanged,
    ItemPrice,
    OrderLineRead,
    OrderStatusChanged,
    StockLevelRead,
)
from schemas.records import (
    Anchor,
    Attempt,
    AuditRecord,
    ComponentState,
    Cursor,
    DeadLetterState,
    Document,
    DocumentLine,
    Header,
    KnownLog,
    LetterCommand,
    Notice,
    Outcome,
    Posting,
    SealedEpoch,
    Skipped,
    StockBatch,
    StockDocument,
)
from schemas.topics import TOPICS
from streams.audit import trail
from streams.dead_letters.publisher import fitting
from streams.posting import endings
from streams.posting.group_commit import MAX_BATCHES, MAX_NUMBERS_BYTES
from streams.telemetry.component_states import DETAIL_BYTES
from streams.windows.window import MAX_BYTES
from tests.house.measure import ROOT

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LONG = 2**62
#: A character of four bytes, as many as an identity may have, and far more than a text keeps.
ID, TEXT = "\U0001f4e6" * MAX_IDENTITY_CHARS, "\U0001f4e6" * (50 * MAX_TEXT_CHARS)
CUT = TEXT[:MAX_TEXT_CHARS]
K, NAME = "k" * 50, "t" * 249
#: The members of one window: ids of a length that real ones have, and together as long as the window.
MEMBERS = ("m" * 36,) * (MAX_BYTES // 36)
HEADERS = (Header(name="h", value=bytes(MAX_HEADER_BYTES - 1)),)

BATCH = StockBatch(
    company=ID,
    source=ID,
    sku=ID,
    location=ID,
    to_location=ID,
    reason=ID,
    posting_date=date.max,
    serials=("s" * 100,) * (FACT_MAX_BYTES // 102),  # of one event; it stands alone
    net=Decimal(LONG) / 10**6,
    event_ids=(ID,),
    offsets=(LONG,),
    deltas=(Decimal(LONG) / 10**6,),
    digests=bytes(16),
)
STATE = fitting(
    DeadLetterState(
        id="i" * 16,
        state="dead",
        reason="erp_refused",
        owner="operations",
        company=ID,
        k=K,
        digest=bytes(16),
        event_type="stock_batch",
        event_id=ID,
        members=MEMBERS,
        source=ID,
        order_id=ID,
        sku=ID,
        topic=NAME,
        partition=LONG,
        offset=LONG,
        letter_topic=NAME,
        letter_partition=LONG,
        letter_offset=LONG,
        waits_for=TEXT,
        blocked_by="i" * 16,
        error=TEXT,
        first_failed_at=NOW,
        at=NOW,
        by=ID,
        command=ID,
        why=TEXT,
        cause=TEXT,
        tries=(Attempt(at=NOW, reason="erp_refused", error=TEXT),) * endings._TRIES_KEPT,
    )
)
AUDIT_TEXT = trail._cut(TEXT)
READ: dict[str, Any] = {"company": ID, "reading": LONG, "as_of": NOW}
WORST: dict[str, Any] = {
    "posting": Posting(
        k=K,
        kind="dispatch_confirmed",
        company=ID,
        source=ID,
        order_id=ID,
        digest=bytes(16),
        topic=NAME,
        partition=LONG,
        offset=LONG,
        index=LONG,
        timestamp_ms=LONG,
        key=bytes(MAX_KEY_BYTES),
        headers=HEADERS,
        value=bytes(FACT_MAX_BYTES + 2 * MAX_KEY_BYTES),  # of a fact, or of the batch of one event
    ),
    "stock_batch": BATCH,
    "sealed_epoch": SealedEpoch(
        number=LONG,
        prev_digest=bytes(16),
        start=LONG,
        end=LONG,
        sealed_at=NOW,
        config_version="c" * 12,
        cause=CUT,
        batches=(BATCH,),
        skipped=(
            Skipped(
                offset=LONG,
                why="unreadable",
                error=CUT,
                key=bytes(MAX_KEY_BYTES),
                value=bytes(FACT_MAX_BYTES),
                headers=HEADERS,
            ),
        ),
        no_ops=LONG,
    ),
    "stock_document": StockDocument(
        number=LONG,
        prev_digest=bytes(16),
        k=K,
        company=ID,
        direction="transfer",
        posting_date=date.max,
        account=ID,
        lines=(
            DocumentLine(
                item_code=ID,
                warehouse=ID,
                to_warehouse=ID,
                reason=ID,
                quantity=Decimal(LONG) / 10**6,
                serials=("s" * 36,) * (MAX_NUMBERS_BYTES // 60),
            ),
        )
        + (DocumentLine(item_code=ID, warehouse=ID, to_warehouse=ID, reason=ID, quantity=Decimal(1)),) * 49,
        batch_ks=("stock_batch-" + "k" * 26,) * MAX_BATCHES,
        sealed_at=NOW,
        config_version="c" * 12,
    ),
    "letter_state": STATE,
    "outcome": Outcome(
        k=K,
        kind="stock_batch",
        company=ID,
        source=ID,
        event_ids=MEMBERS,
        order_id=ID,
        sku=ID,
        outcome="adopted_cancelled",
        reason="batch_or_serial_missing",
        documents=(Document(object="InventoryGenEntries", doc_entry=LONG, doc_num=LONG),) * 3,
        attempts=LONG,
        topic=NAME,
        partition=LONG,
        offset=LONG,
        queued_at=NOW,
        at=NOW,
    ),
    # Positions and pending events are the connectors' own, and have bounds of theirs
    "cursor": Cursor(connector=ID, sku=ID, location=ID, number=LONG, prev_digest=bytes(16), position="{}", at=NOW),
    "anchor": Anchor(topic=NAME, partition=LONG, offset=LONG, number=LONG, digest=bytes(16), end=LONG, at=NOW),
    "known_log": KnownLog(topic=NAME, partition=LONG, log_id="i" * 22, start=LONG, by=ID, why=CUT, at=NOW),
    "notice": of_letter(STATE),
    "audit_record": AuditRecord(
        number=LONG,
        prev_digest=bytes(16),
        id=ID,
        at=NOW,
        by=ID,
        action=ID,
        company=ID,
        command=ID,
        what=AUDIT_TEXT,
        selection_hash=ID,
        why=AUDIT_TEXT,
        result=AUDIT_TEXT,
    ),
    "letter_command": LetterCommand(
        id=ID,
        action="discard",
        letter="i" * 16,
        company=ID,
        by=ID,
        why=CUT,
        seen_at=NOW,
        at=NOW,
        value=bytes(FACT_MAX_BYTES),
    ),
    "component_state": ComponentState(
        kind="company",
        name=ID,
        state="held",
        reason="failed",
        detail="d" * DETAIL_BYTES,
        since=NOW,
        owner="platform",
        at=NOW,
        worker=NAME,
    ),
    # An order or a delivery of more lines is refused by the publisher
    "item_changed": ItemChanged(
        **READ,
        item_code=ID,
        name=ID,
        barcode=ID,
        unit=ID,
        is_sold=True,
        is_stocked=True,
        is_active=True,
        batch_managed=True,
        serial_managed=True,
        prices=(ItemPrice(price_list=LONG, amount=Decimal(LONG) / 10**6, currency=ID),) * 100,
    ),
    "stock_level": StockLevelRead(
        **READ, item_code=ID, warehouse=ID, on_hand=Decimal(1), committed=Decimal(1), ordered=Decimal(1)
    ),
    "order_status_changed": OrderStatusChanged(
        **READ,
        doc_entry=LONG,
        doc_num=LONG,
        k=K,
        number=ID,
        status="cancelled",
        is_released=True,
        ship_to=Address(name=ID, street=ID, city=ID, postcode=ID, country="GB"),
        lines=(
            OrderLineRead(
                line_num=1, line_id=ID, item_code=ID, warehouse=ID, quantity=Decimal(1), open=Decimal(1), is_closed=True
            ),
        )
        * 500,
        changed_at=NOW,
    ),
    "delivery_posted": DeliveryPosted(
        **READ,
        doc_entry=LONG,
        doc_num=LONG,
        k=K,
        is_cancelled=False,
        tracking_numbers=(ID,) * 100,
        lines=(DeliveryLineRead(line_id=ID, item_code=ID, warehouse=ID, quantity=Decimal(1)),) * 500,
        created_at=NOW,
    ),
    "delivery_state": EffectState(
        connector=ID,
        company=ID,
        subject=(ID, ID, ID),
        term=LONG,
        state="sending",
        k=K,
        type="order_withdrawn",
        content="c" * CONTENT_BYTES,
        as_of=NOW,
        sent="c" * CONTENT_BYTES,
        sent_type="order_released",
        sent_at=NOW,
        ref=ID,
        order_id=ID,
        sku=ID,
        reason="order_incomplete",
        error=CUT,
        since=NOW,
        at=NOW,
    ),
}


def test_every_type_of_record_has_a_worst_case() -> None:
    assert WORST.keys() == TYPES.keys() - EVENT_TYPES.keys()
    assert all(type(record) is TYPES[name] for name, record in WORST.items())


@pytest.mark.parametrize("name", WORST)
def test_the_largest_record_that_we_make_fits_every_topic_that_takes_it(name: str) -> None:
    size = len(embedded_codec().encode(WORST[name]))
    taking = [topic for topic in TOPICS if topic.value == ("posting" if name == "letter_command" else name)]
    assert taking
    assert all(size < topic.max_message_bytes for topic in taking)


def test_a_notice_is_short() -> None:
    """It goes into mails and messages."""
    assert isinstance(WORST["notice"], Notice)
    assert len(embedded_codec().encode(WORST["notice"])) < 64 * 1024


#: Where records are encoded that are one of `WORST`, or an event; whoever adds a place says here what bounds it.
COMPOSERS = {
    "connectors/base/cursors.py": "the connector's position; a pending event is one that was published",
    "connectors/base/dead_letters.py": "schemas.letter_bounds",
    "connectors/base/notices.py": "of_letter of a state that fits",
    "connectors/base/publisher.py": "refused where it does not fit",
    "streams/audit/trail.py": "_cut",
    "streams/chain/known_logs.py": "short",
    "streams/chain/log.py": "numbers and a digest",
    "streams/chain/loss.py": "no events in it",
    "streams/cli/dlq_edit.py": "an event that its topic took",
    "streams/dead_letters/commands.py": "short texts, an event",
    "streams/dead_letters/desk.py": "an event, a command",
    "streams/dead_letters/publisher.py": "bounded, fitting",
    "streams/dead_letters/republish.py": "an event that its topic took",
    "streams/delivery/states.py": "CONTENT_BYTES",
    "streams/posting/documents.py": "MAX_NUMBERS_BYTES, MAX_BATCHES; halved where it does not fit",
    "streams/posting/outcomes.py": "the members of one window",
    "streams/telemetry/component_states.py": "DETAIL_BYTES",
    "streams/windows/partition.py": "MAX_BYTES; halved where it does not fit",
    "streams/worker/routing.py": "_check_size",
}


def test_every_place_that_composes_records_says_what_bounds_it() -> None:
    found = set()
    for package in ("connectors", "streams"):
        for path in (ROOT / package).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            encoding = [
                call.func for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "encode"
            ]
            if any(ast.unparse(each.value).endswith("codec") for each in encoding):
                found.add(str(path.relative_to(ROOT)))
    assert found == COMPOSERS.keys()
