"""Connections: pages of rows, and the cursors between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.base.errors import RetriableError


def page_of(data: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    """The connection at a path; None where something before it is null.

    Raises:
        RetriableError: It has no nodes or page info.
    """
    found: Any = data
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            return None
    if not isinstance(found, Mapping):
        raise RetriableError(f"shopify: {path[-1]} is no connection")
    info = found.get("pageInfo")
    if not isinstance(found.get("nodes"), list) or not isinstance(info, Mapping) or "hasNextPage" not in info:
        raise RetriableError(f"shopify: {path[-1]} came without nodes and page info")
    return found


def next_page(page: Mapping[str, Any], after: str | None) -> str:
    """The cursor behind a page that is not the last.

    Args:
        page: What `page_of` gave.
        after: The cursor before it.

    Raises:
        RetriableError: It leads nowhere: it would be read for ever.
    """
    end = page["pageInfo"].get("endCursor")
    if not isinstance(end, str) or end == after:
        raise RetriableError("shopify: a page whose cursor leads to no other")
    return end


def id_of(row: object) -> str:
    """A row's id, by which more of it is asked for.

    Raises:
        RetriableError: It has none.
    """
    found = row.get("id") if isinstance(row, Mapping) else None
    if not isinstance(found, str):
        raise RetriableError("shopify: a row came without its id")
    return found
