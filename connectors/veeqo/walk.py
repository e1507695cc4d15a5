"""The walk over changed orders, newest first, as Veeqo lists them.

Rows that arrive meanwhile shift others down, which then come twice and are known; when rows have left, the walk steps
back as many pages, so that none is passed over.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from connectors.base.errors import FatalError, RecordError
from connectors.base.log import milliseconds
from connectors.base.source import Item
from connectors.veeqo.client import VeeqoClient, VeeqoPage
from connectors.veeqo.memory import Memory
from connectors.veeqo.reading import Reading
from connectors.veeqo.records import VeeqoOrderHead, validate


async def walk(
    client: VeeqoClient, reading: Reading, items_of: Callable[[object], Sequence[Item]]
) -> tuple[list[Item], bool]:
    """Read one page of orders.

    Args:
        client: Asks for it.
        reading: Its memory says which page, and moves on.
        items_of: What a row comes to.

    Returns:
        The items, and whether the walk has come to its end.

    Raises:
        ConnectorError: Veeqo did not answer, or more orders than the walk can reach.
    """
    memory, settings = reading.memory, reading.settings
    params: dict[str, str | int] = {"page": memory.page, "page_size": settings.page_size}
    since_ms = memory.since_ms
    if since_ms is None and settings.start_at is not None:
        since_ms = milliseconds(settings.start_at)
    if since_ms is not None:
        # The zone is not documented; the overlap covers one hour of doubt (reference, section 1.2).
        params["updated_at_min"] = _query_time(since_ms - memory.reach_ms)
    if memory.before_ms is not None:
        params["created[before]"] = _query_time(memory.before_ms)
    page = await client.page("/orders", params)
    memory.started_ms = memory.started_ms or page.at_ms
    if page.total is not None:
        if memory.page > 1 and memory.total is not None and page.total < memory.total:
            # Rows have left, and those behind them moved up, past us: as many pages back they are found again.
            memory.page = max(1, memory.page - -(-(memory.total - page.total) // settings.page_size))
            memory.total, memory.mark = page.total, ""
            return [], False
        memory.total = page.total
    items = [item for row in page.rows for item in items_of(row)]
    if is_last(reading, page):
        return items, True
    if memory.page >= settings.page_cap:
        _go_deeper(memory, page)
    else:
        memory.page += 1
    return items, False


def _go_deeper(memory: Memory, page: VeeqoPage) -> None:
    """Behind the deepest page, begin again with what is older than its oldest row."""
    created = [ms for row in page.rows if (ms := _created_ms(row)) is not None]
    before_ms = (min(created) // 1000 + 1) * 1000 if created else None
    if before_ms is None or (memory.before_ms is not None and before_ms >= memory.before_ms):
        raise FatalError(
            "veeqo: more orders than page_cap allows, and created[before] does not lead behind them; "
            "raise page_cap, or set start_at to a later day"
        )
    memory.before_ms, memory.page, memory.total, memory.mark = before_ms, 1, None, ""


def is_last(reading: Reading, page: VeeqoPage) -> bool:
    """Whether a page ends its list: by the list's length where Veeqo tells it, else because it has nothing new on it.

    A short page is not the end by itself: Veeqo may have cut the page size.
    """
    memory = reading.memory
    before = memory.mark
    memory.mark = hashlib.sha256(repr([_id_of(row) for row in page.rows]).encode()).hexdigest()[:12]
    if page.total is not None and page.rows:
        is_last = memory.page * (page.per_page or reading.settings.page_size) >= page.total
    else:
        is_last = not page.rows or memory.mark == before
    if is_last:
        memory.mark = ""
    return is_last


def _id_of(row: object) -> object:
    return row.get("id") if isinstance(row, Mapping) else None


def _created_ms(row: object) -> int | None:
    try:
        return milliseconds(validate(VeeqoOrderHead, row).created_at)
    except RecordError:
        return None


def _query_time(unix_ms: int) -> str:
    return datetime.fromtimestamp(max(0, unix_ms) // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
