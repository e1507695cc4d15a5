"""What the source remembers between two looks; its cursor is this, as text. Pure but for the text.

Orders and stock are in one cursor, since they explain each other: what a shipment took from the shelf is the delivery's
to post, so that a count is compared with the last one only after the shipments between them are known.
"""

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.base.errors import CursorUnusableError

#: A cursor record is one Kafka message of at most 1 MiB.
MAX_TEXT_CHARS = 900_000
MAX_REFUSED = 2_000

REST, SWEEP, WALK, REPORT = "rest", "sweep", "walk", "report"


@dataclass(slots=True)
class ReportedOrder:
    """What has been reported of an order.

    Attributes:
        stamp_ms: The latest of its times; Unix time.
        placed: A mark of the content it was placed with; "": not placed.
        finished: Nothing more is expected of it: it may be forgotten after a while.
        cancelled: Its cancellation has been reported.
        shipments: Ids of the shipments that have been.
    """

    stamp_ms: int
    placed: str = ""
    finished: bool = False
    cancelled: bool = False
    shipments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class KnownCount:
    """What is known of a sku in a warehouse.

    Attributes:
        sellable: The sellable it belongs to; "": any.
        found: The sweep under way has met it.
        shipped: Units that reported shipments have taken, ever.
        reported: The last level that was reported: on the shelf and shipped; None: none yet.
        seen: What lay on the shelf at the last sweep, until it is compared; None: nothing to compare.
        seen_ms: When that was, by Veeqo's clock.
    """

    sellable: str = ""
    found: bool = False
    shipped: Decimal = Decimal(0)
    reported: Decimal | None = None
    seen: Decimal | None = None
    seen_ms: int = 0


@dataclass(slots=True)
class Memory:
    """The cursor.

    A cycle goes SWEEP (when it is due), WALK, REPORT, and rests. All times are Unix time in ms.

    Attributes:
        phase: Where in the cycle we are.
        page: The next page of the list under way.
        since_ms: Every change up to here has been seen; None: nothing has.
        reach_ms: How far before it the walk under way begins.
        started_ms: When that walk began, by Veeqo's clock.
        top_ms: The latest change it has met.
        before_ms: It goes on with what was created before; None: from the newest.
        total: How many rows its list had.
        mark: Of the page before, to know it again.
        swept_ms, rechecked_ms: When the last sweep, the last walk that reached back `memory_days` began; our clock.
        sequence: Of the last levels reported.
        forgotten_ms: Finished orders up to here may have been forgotten.
        orders: By id.
        counts: By sku and warehouse id.
        refused: Marks of refused records, the latest last, so that each is refused once.
    """

    phase: str = REST
    page: int = 1
    since_ms: int | None = None
    reach_ms: int = 0
    started_ms: int = 0
    top_ms: int = 0
    before_ms: int | None = None
    total: int | None = None
    mark: str = ""
    swept_ms: int = 0
    rechecked_ms: int = 0
    sequence: int = 0
    forgotten_ms: int = -1
    orders: dict[str, ReportedOrder] = field(default_factory=dict)
    counts: dict[tuple[str, str], KnownCount] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)

    def refuse(self, mark: str) -> bool:
        """Remember a refused record; whether it is new."""
        if mark in self.refused:
            return False
        self.refused[mark] = None
        for old in list(self.refused)[: max(0, len(self.refused) - MAX_REFUSED)]:
            del self.refused[old]
        return True

    def forget(self, before_ms: int) -> None:
        """Let go of finished orders without a change since."""
        for order_id, state in list(self.orders.items()):
            if state.finished and state.stamp_ms < before_ms:
                self.forgotten_ms = max(self.forgotten_ms, state.stamp_ms)
                del self.orders[order_id]

    def to_text(self) -> str:
        """The cursor's text: readable but for the tables.

        Raises:
            FatalError: It does not fit into a cursor record.
        """
        head = {name.name: getattr(self, name.name) for name in fields(self) if name.name not in _TABLES}
        tables: list[Any] = [
            {
                key: [state.stamp_ms, state.placed, state.finished, state.cancelled, state.shipments]
                for key, state in sorted(self.orders.items())
            },
            [
                [
                    *key,
                    each.sellable,
                    each.found,
                    str(each.shipped),
                    _or_none(each.reported),
                    _or_none(each.seen),
                    each.seen_ms,
                ]
                for key, each in sorted(self.counts.items())
            ],
            list(self.refused),
        ]
        packed = base64.b85encode(zlib.compress(json.dumps(tables, separators=(",", ":")).encode(), 6)).decode()
        text = json.dumps({"v": 1, **head, "packed": packed}, separators=(",", ":"))
        if len(text) > MAX_TEXT_CHARS:
            raise CursorUnusableError(
                f"veeqo: {len(self.orders)} orders and {len(self.counts)} counts are more than a cursor holds; "
                "lower memory_days, or read stock and orders by two connectors of fewer warehouses (ignored_warehouses)"
            )
        return text

    @classmethod
    def from_text(cls, text: str | None) -> "Memory":
        """Read what `to_text` wrote; None is the beginning.

        Raises:
            FatalError: It is something else.
        """
        if text is None:
            return cls()
        try:
            found = json.loads(text)
            if found.pop("v") != 1:
                raise ValueError("another version")  # noqa: TRY301 -- one way out
            orders, counts, refused = json.loads(zlib.decompress(base64.b85decode(found.pop("packed"))))
            return cls(
                **found,
                orders={key: ReportedOrder(*row) for key, row in orders.items()},
                counts={(row[0], row[1]): _count(*row[2:]) for row in counts},
                refused=dict.fromkeys(refused),
            )
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error, binascii.Error, InvalidOperation) as error:
            raise CursorUnusableError(
                "the cursor is not one of a veeqo connector; give the connector a new name, or its old kind"
            ) from error


def _or_none(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


_TABLES = ("orders", "counts", "refused")


def _count(
    sellable: str, found: bool, shipped: str, reported: str | None, seen: str | None, seen_ms: int
) -> KnownCount:
    return KnownCount(
        sellable,
        found,
        Decimal(shipped),
        None if reported is None else Decimal(reported),
        None if seen is None else Decimal(seen),
        seen_ms,
    )
