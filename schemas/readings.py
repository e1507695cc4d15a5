"""What B1 says is so: readings of items, stock, orders and deliveries, and what became of telling a channel.

A reading is no event: it replaces the one before it of the same key (compacted topics). `reading` grows with every look
at B1, also across processes; of two records of a key the one with the greater (`reading`, `as_of`) counts, whatever
their order in the log. Quantities and prices are decimal(19,6), quantities in inventory units.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from schemas.events import Address, BatchQuantity

#: Of one content of an effect, so that two of them fit a record; an order of some two thousand lines.
CONTENT_BYTES = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class B1Reading:
    company: str
    reading: int
    as_of: datetime  # when B1 was asked

    @property
    def age(self) -> tuple[int, datetime]:
        """Readings of one key are ordered by it."""
        return self.reading, self.as_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPrice:
    price_list: int
    amount: Decimal
    currency: str | None = None  # None: the company's


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChanged(B1Reading):
    """An item's master data. Key: company and item."""

    item_code: str
    name: str | None = None
    barcode: str | None = None
    unit: str | None = None  # of inventory
    is_sold: bool
    is_stocked: bool
    is_active: bool  # valid, not frozen, and not deleted
    batch_managed: bool
    serial_managed: bool
    prices: tuple[ItemPrice, ...] = ()  # of the lists that the connector is configured to read


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLevelRead(B1Reading):
    """An item in a warehouse. Key: company, item, warehouse."""

    item_code: str
    warehouse: str
    on_hand: Decimal
    committed: Decimal  # open quantity of sales orders
    ordered: Decimal  # open quantity of purchase orders


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLineRead:
    line_num: int
    line_id: str | None = None  # U_STREAMS_LINE; None where people keyed the line
    item_code: str
    warehouse: str | None = None
    quantity: Decimal  # ordered
    open: Decimal  # not delivered; of a closed line what never will be
    is_closed: bool
    batches: tuple[BatchQuantity, ...] = ()  # asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatusChanged(B1Reading):
    """A sales order as it stands. Key: company and DocEntry."""

    doc_entry: int
    doc_num: int
    k: str | None = None  # U_STREAMS_KEY; None where people keyed the order
    number: str | None = None  # NumAtCard
    status: str  # open | closed | cancelled
    is_released: bool  # by the connector's release rule
    ship_to: Address | None = None  # its name: the channel's, else CardName
    shipping_type: int | None = None  # ShippingTypes.Code
    lines: tuple[OrderLineRead, ...]
    changed_at: datetime  # B1's UpdateDate and UpdateTime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLineRead:
    line_id: str | None = None
    item_code: str
    warehouse: str | None = None
    quantity: Decimal
    order_entry: int | None = None  # DocEntry of the order it is based on
    order_line: int | None = None  # and its LineNum


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPosted(B1Reading):
    """A delivery as it stands. Key: company and DocEntry."""

    doc_entry: int
    doc_num: int
    k: str | None = None  # U_STREAMS_KEY: the K of its dispatch; None where people keyed it
    order_k: str | None = None  # U_STREAMS_ORDER
    is_cancelled: bool
    tracking_numbers: tuple[str, ...] = ()
    shipping_type: int | None = None
    lines: tuple[DeliveryLineRead, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectState:
    """What a channel was told about one subject, and what it is to be told (compacted, on `delivery-state`).

    Written with `state` sending before anything is sent, so that whoever comes next sends the same request again.
    `content` and `sent` are JSON as in files (contract "Out of B1"), without `as_of`.
    """

    connector: str
    company: str
    subject: tuple[str, ...]  # (item, SKU), (price, SKU), (level, SKU [, LOCATION]), (order | delivery, DocEntry)
    term: int  # of the writer: a state of a lower one was written by a process that had lost the connector
    state: str  # sending | sent | parked | dead | no_op | shadow
    k: str
    type: str  # item_changed | price_changed | stock_level | order_released | order_withdrawn | delivery_posted
    content: str
    as_of: datetime
    sent: str | None = None  # what it took last about this subject; None: nothing yet
    sent_type: str | None = None
    sent_at: datetime | None = None
    taken: int = 0  # how many effects about this subject it took: what `streams status` counts, in the same record
    no_ops: int = 0  # how many that were parked or refused need not be said any more
    revision: int = 0  # of an order: how often it was released again with other lines
    shown: str | None = None  # in shadow mode, the figure that the channel showed when it was compared
    ref: str | None = None  # the channel's own name of it
    order_id: str | None = None
    order_source: str | None = None  # the connector whose order it is; None: people keyed it
    sku: str | None = None
    attempts: int = 0
    reason: str | None = None  # a name of `schemas.letters.REASONS`; None: nothing is wrong
    error: str | None = None  # the channel's words and ours: no personal data, no secrets
    since: datetime  # when this content became due
    at: datetime


READING_TYPES: dict[str, type[B1Reading]] = {
    "item_changed": ItemChanged,
    "stock_level": StockLevelRead,
    "order_status_changed": OrderStatusChanged,
    "delivery_posted": DeliveryPosted,
}
READING_NAMES: dict[type[B1Reading], str] = {cls: name for name, cls in READING_TYPES.items()}


def subject_of(reading: B1Reading) -> tuple[str, ...]:
    """What a reading is about, beside its company: the rest of its key."""
    match reading:
        case ItemChanged():
            return (reading.item_code,)
        case StockLevelRead():
            return reading.item_code, reading.warehouse
        case OrderStatusChanged() | DeliveryPosted():
            return (str(reading.doc_entry),)
        case _:
            raise TypeError(f"{type(reading).__name__} is no reading")
