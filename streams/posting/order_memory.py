"""B1's memory of orders, as far as the poster keeps it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from connectors.base.errors import Refusal
from connectors.sap_b1.order import OrderView

#: Orders asked for in one $batch.
_ORDERS_PER_READ = 20
#: Lines remembered, of orders with their deliveries, invoices and credit memos: some 0.7 kB each.
_REMEMBERED_LINES = 100_000


class OrderMemory:
    """B1's memory of orders, read on first touch, up to 20 at once, and kept while it is advanced by what we post."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, OrderView | None]]]) -> None:
        """`read` raises `Refusal` where B1 fails at these orders and answers otherwise: each is then read alone."""
        self._read = read
        self._views: OrderedDict[str, OrderView] = OrderedDict()
        self._lines = 0
        self._asked: dict[str, asyncio.Future[OrderView | None]] = {}
        self._next: list[str] = []  # of those asked for, what no read is under way for
        self._asking: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[Refusal | None]] = set()

    async def get(self, k: str) -> OrderView | None:
        """The order as last seen; an order that B1 did not have is asked for again each time.

        Raises:
            Refusal: B1 cannot read this one.
        """
        if (view := self._views.get(k)) is not None:
            self._views.move_to_end(k)
            return view
        asked = self._asked.get(k)
        if asked is None:
            asked = self._asked[k] = asyncio.get_running_loop().create_future()
            self._next.append(k)
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(asked)

    def put(self, view: OrderView) -> None:
        self.forget(view.k)
        self._views[view.k] = view
        self._lines += _size(view)
        while self._lines > _REMEMBERED_LINES and len(self._views) > 1:
            self.forget(next(iter(self._views)))

    def forget(self, k: str) -> None:
        if (view := self._views.pop(k, None)) is not None:
            self._lines -= _size(view)

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # whoever starts in the same turn joins
        while self._next:
            ks, self._next = self._next[:_ORDERS_PER_READ], self._next[_ORDERS_PER_READ:]
            refused = await self._answer(ks)
            if refused is not None and len(ks) > 1:
                for k in ks:
                    task = asyncio.create_task(self._answer([k]))
                    self._alone.add(task)
                    task.add_done_callback(self._alone.discard)
        self._asking = None

    async def _answer(self, ks: Sequence[str]) -> Refusal | None:
        """Read some orders and answer who asked for them; nobody yet where several were refused together."""
        try:
            views = await self._read(ks)
        except Exception as error:  # noqa: BLE001  # whoever asked has it raised
            if isinstance(error, Refusal) and len(ks) > 1:
                return error
            for k in ks:
                future = self._asked.pop(k)
                future.set_exception(error)
                future.exception()  # nobody may be left who asked
            return None
        for k in ks:
            view = views.get(k)
            if view is not None:
                self.put(view)
            self._asked.pop(k).set_result(view)
        return None


def _size(view: OrderView) -> int:
    """Lines, and one for each document's head."""
    documents = (*view.deliveries, *view.invoices, *view.credits)
    return 1 + len(view.lines) + sum(1 + len(document.lines) for document in documents)
