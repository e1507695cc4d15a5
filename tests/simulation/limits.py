"""Limits that production reaches with millions of records, scaled down for one run, so that a dozen reach them.

The load of a simulated run stays small; what bounds memory, groups, documents and waits is made smaller with it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from unittest.mock import patch

from connectors.sap_b1 import claims, sink
from streams.posting import admission, group_commit, order_memory
from streams.windows import window

_BYTES, _GROUP, _BATCHES, _KEYS, _LINES, _ORDERS, _QUERY = 512 * 1024, 16, 5_000, 50_000, 100_000, 20, 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What is bounded, and by how much in this run.

    Attributes:
        open_records: Records of one partition that may be open before it is no longer fetched.
        window_bytes: Of one epoch.
        group_epochs: Epochs that are sent as one group.
        document_batches: Batches in one stock document.
        remembered_keys: Ks that have ended and are known without asking B1.
        remembered_lines: Lines of orders that the poster remembers.
        orders_per_read: Orders that are read in one request.
        ks_per_query: Claims that are asked for in one query.
    """

    open_records: int = 20_000
    window_bytes: int = _BYTES
    group_epochs: int = _GROUP
    document_batches: int = _BATCHES
    remembered_keys: int = _KEYS
    remembered_lines: int = _LINES
    orders_per_read: int = _ORDERS
    ks_per_query: int = _QUERY

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The core has these limits."""
        with ExitStack() as stack:
            for module, name, value in (
                (window, "MAX_BYTES", self.window_bytes),
                (window, "MAX_GROUP_EPOCHS", self.group_epochs),
                (group_commit, "MAX_BATCHES", self.document_batches),
                (admission, "_REMEMBERED_KS", self.remembered_keys),
                (order_memory, "_REMEMBERED_LINES", self.remembered_lines),
                (order_memory, "_ORDERS_PER_READ", self.orders_per_read),
                (claims, "KS_PER_QUERY", self.ks_per_query),
                (sink, "KS_PER_QUERY", self.ks_per_query),
            ):
                stack.enter_context(patch.object(module, name, value))
            yield


def limits_of(random: Random) -> Limits:
    """Half of all runs have production's limits; in the others each is small or is not."""
    if random.random() < 0.5:
        return Limits()
    return Limits(
        open_records=random.choice((5, 5, 12, 20_000)),
        window_bytes=random.choice((500, 2_000, _BYTES)),
        group_epochs=random.choice((1, 2, 2, _GROUP)),
        document_batches=random.choice((1, 2, 3, _BATCHES)),
        remembered_keys=random.choice((0, 2, _KEYS)),
        remembered_lines=random.choice((1, 4, _LINES)),
        orders_per_read=random.choice((1, 2, _ORDERS)),
        ks_per_query=random.choice((1, 2, _QUERY)),
    )
