"""What the parts of the pipeline exchange through Kafka, beside the five events.

Offsets are Kafka offsets; a range `[start, end)` leaves out its end. Ks are the identities of architecture section 3.
Quantities are `Decimal` in inventory units.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from schemas.events import BatchQuantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    name: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One write that a company's ERP owes us, queued on `erp-orders` or `erp-stock`.

    `topic`, `partition`, `offset`, `timestamp_ms`, `key` and `headers` are the fact's own (for a stock batch those of
    the sealed epoch), `value` the fact's untouched bytes (for a stock batch the encoded `StockBatch`). `log` says which
    log of that partition the offset is of: how often a person had accepted one in place of another (`KnownLog.number`).
    """

    k: str
    kind: str  # an event type, or "stock_batch"
    company: str
    source: str
    order_id: str | None = None
    digest: bytes
    topic: str
    partition: int
    offset: int
    index: int = 0  # which batch of its epoch a stock batch is
    timestamp_ms: int
    key: bytes | None = None
    headers: tuple[Header, ...] = ()
    value: bytes
    log: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLog:
    """Which log of a partition we read (compacted, on `known-logs`): what the offsets that are committed belong to.

    Made when a partition is first read, and again when a person accepts that another log has come in its place, or
    that records are gone from it unread.
    """

    topic: str
    partition: int
    log_id: str  # Kafka's id of the topic; empty where the broker shows none
    number: int = 0  # acceptances before: places of different numbers are not compared
    start: int  # an offset that was reached in this log: nothing before it is missed
    by: str | None = None  # the person, and the words, of the acceptance
    why: str | None = None
    lost: int | None = None  # records known to have been published and never read; None: nobody can tell
    before: int = 0  # added to an offset of this log: how many records were published, the logs before included
    lost_before: int = 0  # the sum of what is known to be lost, up to the acceptance before this one
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StockBatch:
    """The netted movement of one sku at one location, for one reason and posting date (and lot), of one epoch.

    The members stand in columns, so that two million of them are read in seconds: `event_ids[i]`, `offsets[i]`,
    `deltas[i]` and `digests[16*i:16*i+16]` belong together. `net` is the sum of the deltas.
    """

    company: str
    source: str
    sku: str
    location: str
    to_location: str | None = None
    reason: str
    posting_date: date
    batches: tuple[BatchQuantity, ...] = ()  # lots never net against each other; quantities are absolute
    serials: tuple[str, ...] = ()
    net: Decimal  # signed
    event_ids: tuple[str, ...]
    offsets: tuple[int, ...]
    deltas: tuple[Decimal, ...]
    digests: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An event that an epoch does not count, with everything its dead letter needs.

    `why` is a reason of `schemas.letters` (a dead letter), or one of `NO_OPS`. Bytes, key and headers are there for
    dead letters only.
    """

    offset: int
    why: str
    error: str | None = None
    event_id: str | None = None
    source: str | None = None
    company: str | None = None
    sku: str | None = None
    location: str | None = None
    digest: bytes | None = None
    timestamp_ms: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[Header, ...] = ()


NO_OPS = ("repeat", "flow_off", "before_start", "returned_by_refund")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEpoch:
    """One contiguous range of `stock-adjusted` offsets, durable as one record before anything of it is posted (D3)."""

    number: int  # accepted records before this one
    prev_digest: bytes  # 16 bytes: digest of the last accepted record's bytes, zeros for the first
    start: int
    end: int
    sealed_at: datetime
    config_version: str
    cause: str  # length | members | bytes | shutdown | tail
    batches: tuple[StockBatch, ...]
    skipped: tuple[Skipped, ...] = ()
    no_ops: int = 0  # events of this chain that ended as no_op in the window, this epoch's included


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLine:
    item_code: str
    warehouse: str
    to_warehouse: str | None = None
    reason: str
    quantity: Decimal  # > 0; the document's direction says which way
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StockDocument:
    """What the poster is about to write as one stock document, made durable before it is sent (D3).

    A batch may be sealed into a second document only when the first can never be posted: its claim lies in B1 as
    `void`.
    """

    number: int
    prev_digest: bytes
    k: str
    company: str
    direction: str  # entry | exit | transfer
    posting_date: date
    account: str | None = None
    lines: tuple[DocumentLine, ...] = ()
    batch_ks: tuple[str, ...] = ()
    sealed_at: datetime
    config_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a dead letter and how it ended: a reason, and the words shown then."""

    at: datetime
    reason: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterState:
    """Where a dead, parked or held event stands; the last record of an id wins (compacted).

    `topic`, `partition`, `offset` are the refused record's own coordinates; `letter_offset` is where its bytes lie in
    `letter_topic`, on `letter_partition`.
    """

    id: str
    state: str  # dead | parked | held | posted | no_op | replayed | discarded
    reason: str
    owner: str
    company: str
    k: str | None = None
    digest: bytes | None = None
    event_type: str
    event_id: str | None = None
    members: tuple[str, ...] = ()  # event ids of a stock batch
    source: str | None = None
    order_id: str | None = None
    sku: str | None = None
    topic: str
    partition: int
    offset: int
    timestamp_ms: int = 0
    sequence: int = 0  # the posting's place in the company's queue, over all of its logs: the order of arrival
    letter_topic: str
    letter_partition: int
    letter_offset: int
    attempts: int = 0
    waits_for: str | None = None  # a K, or item:CODE, period:DATE ...
    blocked_by: str | None = None  # the id of the dead letter that holds this one
    error: str | None = None  # our own words: no personal data, no secrets
    first_failed_at: datetime
    at: datetime
    by: str | None = None  # the person, where a command made this state
    command: str | None = None  # the id of the command that made this state or moved it last
    why: str | None = None  # the person's words, where they discarded it
    cause: str | None = None  # what letters of one cause have in common: a code of B1, a setting
    waited_s: int = 0  # the counted age of a wait: while B1 could be asked and the queue was read
    replays: int = 0  # in a row that ended with the reason they began with
    tries: tuple[Attempt, ...] = ()  # the last ones, oldest first
    log: int = 0  # how often a person has accepted another log in place of the record's partition
    republished: int = 0  # how often it was published again in its topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A transition that somebody may want to know of; made by `schemas.notices`. No personal data.

    `id` is the same whenever the same transition is written again, so that it is told once. `dedupe_key` is the case's:
    its opening and its end share it. `company` is empty where the record does not tell.
    """

    id: str
    kind: str  # one of schemas.notices.KINDS
    severity: str  # info | warning | critical
    company: str
    connector: str | None = None
    order_id: str | None = None
    sku: str | None = None
    letter: str | None = None  # the id of the dead letter
    reason: str | None = None
    owner: str  # who acts
    text: str
    next_step: str | None = None
    at: datetime
    dedupe_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    object: str  # the Service Layer's entity set: Orders, DeliveryNotes ...
    doc_entry: int
    doc_num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one posting: the audit trail. Nothing needs it for correctness."""

    k: str
    kind: str
    company: str
    source: str | None = None
    event_ids: tuple[str, ...]
    order_id: str | None = None
    sku: str | None = None
    outcome: str  # created | adopted | adopted_cancelled | no_op | parked | held | dead
    reason: str | None = None
    documents: tuple[Document, ...] = ()
    attempts: int
    topic: str
    partition: int
    offset: int
    queued_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a connector stands in its source, or (with sku and location) a level it has seen.

    It follows the chain rule per connector.
    """

    connector: str
    sku: str | None = None
    location: str | None = None
    number: int
    prev_digest: bytes
    position: str | None = None  # JSON, the source's own
    sequence: str | None = None
    level: Decimal | None = None
    pending: str | None = None  # JSON of the event under way: write-ahead
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A place in a chain from which it may be walked without guessing its root (architecture section 15.6)."""

    topic: str
    partition: int
    offset: int  # the first record not yet walked
    number: int
    digest: bytes
    end: int  # of an epoch chain: the input offset reached; else 0
    no_ops: int = 0
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterCommand:
    """What a person asks of one dead letter; its company's poster decides (architecture section 15.4).

    It lies in `erp-orders` among the postings, so that a command stands in one sequence with what it is about.
    """

    id: str  # of the command, the same for all its dead letters
    action: str  # replay | discard | retry | edit
    letter: str  # the id of the dead letter
    company: str
    by: str
    why: str | None = None
    seen_at: datetime  # the time of the state that the person saw: on another one the command does nothing
    at: datetime
    value: bytes | None = None  # edit: the corrected payload


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """A command that changes state: once when it begins, once with its result. A chain (architecture section 5)."""

    number: int
    prev_digest: bytes
    id: str  # of this record, whatever its place in the chain
    at: datetime
    by: str
    action: str  # the command: dlq discard, topics accept ...
    company: str = ""
    command: str  # the same in both records of a command
    what: str  # what it is about: a selection as JSON, a name
    selection_hash: str | None = None
    why: str | None = None
    result: str | None = None  # None: it begins


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """Whether a company, a connector or a partition works; the last record of a key counts (compacted)."""

    kind: str  # company | connector | partition
    name: str
    state: str  # ok | away | held
    reason: str | None = None  # a name of `schemas.components.HOLD_REASONS`; None: ok
    detail: str | None = None  # B1's, the vendor's or our own words: bounded, no secrets, no personal data
    since: datetime
    owner: str | None = None
    waiting: int = 0  # postings or events that wait for it
    at: datetime
    worker: str  # host:pid
