"""What real systems write: repeats, and a line that is cut off."""

from dataclasses import replace
from datetime import timedelta

from lab.feed.context import FeedContext
from lab.feed.feed import FeedEntry
from lab.feed.texts import share_of


def with_disorder(context: FeedContext, entries: list[FeedEntry], name: str) -> list[FeedEntry]:
    """Some lines again an hour later (a repeat), and before one of them its first half (a line cut off)."""
    if not entries:
        return entries
    again = [entry for entry in entries if share_of(context.seed, "again", entry.identity) < 0.01]
    half = min(entries, key=lambda entry: share_of(context.seed, f"half {name}", entry.identity))
    context.counts["repeats"] += len(again)
    context.counts["unreadable"] += 1
    return [
        *entries,
        *(replace(entry, at=entry.at + timedelta(hours=1)) for entry in again),
        replace(half, line=half.line[: len(half.line) // 2]),
    ]
