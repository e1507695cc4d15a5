"""Which transitions are notices, and what a notice says. Pure: the same transition gives the same id."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, overload

from schemas.letters import REASONS
from schemas.records import DeadLetterState, Notice

NOTICES = "notices"

Kind = Literal[
    "dead",
    "parked",
    "released",
    "replayed",
    "discarded",
    "blocked",
    "held",
    "freed",
    "breaker_opened",
    "breaker_closed",
]
Severity = Literal["info", "warning", "critical"]

#: How much each kind matters. Critical: orders do not reach the ERP now; warning: one owner must act.
SEVERITIES: Mapping[str, Severity] = {
    "dead": "warning",
    "parked": "warning",
    "released": "info",
    "replayed": "info",
    "discarded": "info",
    "blocked": "warning",
    "held": "critical",
    "freed": "info",
    "breaker_opened": "critical",
    "breaker_closed": "info",
}
KINDS = tuple(SEVERITIES)
#: What a state of a dead letter is news as; an event that is held is told with what holds it (`blocked`).
_NEWS: Mapping[str, Kind] = {
    "dead": "dead",
    "parked": "parked",
    "posted": "released",
    "no_op": "released",
    "replayed": "replayed",
    "discarded": "discarded",
}
#: The end of what a notice carries of a name, and of its words: a notice stays below 8 KiB, whatever was refused.
_NAME_BYTES, _WORDS_BYTES = 300, 2_000


def of_letter(letter: DeadLetterState) -> Notice | None:
    """The news in a state of a dead letter.

    None where there is none. A state that is written again, or only says when it was tried last, is the same notice.
    """
    kind = _NEWS.get(letter.state)
    if kind is None:
        return None
    reason = REASONS.get(letter.reason)
    what = f"{letter.event_type} {letter.event_id or f'of {len(letter.members)} events'}"
    words = letter.error if kind in ("dead", "parked") else None
    end = {"no_op": "needs no document any more", "released": "is posted"}
    said = words or {
        "released": f"{what} {end.get(letter.state, 'is posted')}; it had waited as {letter.reason}",
        "replayed": f"{what} is replayed; it was dead as {letter.reason}",
        "discarded": f"{what} is discarded; it was {letter.reason}",
    }.get(kind, f"{what} is {kind}")
    return _notice(
        kind,
        f"letter/{letter.id}",
        (letter.reason, letter.waits_for, letter.command, letter.replays),
        company=letter.company,
        connector=letter.source,
        order_id=letter.order_id,
        sku=letter.sku,
        letter=letter.id,
        reason=letter.reason,
        owner=letter.owner,
        text=said,
        next_step=reason.remedy if reason is not None and kind in ("dead", "parked") else None,
        at=letter.at,
    )


def of_blocker(letter: DeadLetterState, waiting: int, at: datetime) -> Notice:
    """A dead letter has blocked later events of its order, or of its item, for longer than people want to wait.

    Args:
        letter: What blocks.
        waiting: How many events wait behind it.
        at: The moment that this was seen.
    """
    reason = REASONS.get(letter.reason)
    since = letter.first_failed_at.isoformat(timespec="seconds")
    key = f"order {letter.order_id}" if letter.order_id is not None else f"item {letter.sku}"
    return _notice(
        "blocked",
        f"blocked/{letter.id}",
        (),
        company=letter.company,
        connector=letter.source,
        order_id=letter.order_id,
        sku=letter.sku,
        letter=letter.id,
        reason=letter.reason,
        owner=letter.owner,
        text=f"{waiting} later events of {key} wait since {since} for this one: {letter.error or letter.reason}",
        next_step=None if reason is None else reason.remedy,
        at=at,
    )


def of_component(
    kind: Literal["held", "freed", "breaker_opened", "breaker_closed"],
    *,
    company: str,
    connector: str | None = None,
    part: str | None = None,
    owner: str,
    why: str,
    since: datetime,
    at: datetime,
    next_step: str | None = None,
) -> Notice:
    """A company, a connector or something smaller stands still or goes on.

    Args:
        kind: `held` and `freed` for what somebody must act on, `breaker_...` for a system that is away.
        company: Whose.
        connector: None: the company itself.
        part: What it is, where it is neither: `partition order-placed/3`.
        owner: Who acts.
        why: In our words, with the other side's: no personal data, no secrets.
        since: When this state began: with kind and name it makes the id, so it must not change while the state stands.
        at: The moment of the notice.
        next_step: What the owner does.
    """
    name = part or (f"connector {connector}" if connector is not None else f"company {company}")
    verb = {
        "held": "is held",
        "freed": "goes on",
        "breaker_opened": "waits: the other side is away",
        "breaker_closed": "goes on: the other side answers",
    }[kind]
    family = "breaker" if kind.startswith("breaker") else "held"
    return _notice(
        kind,
        "/".join(each for each in (family, company, connector, part) if each),
        (since.isoformat(),),
        company=company,
        connector=connector,
        owner=owner,
        text=f"{name} {verb}: {why}",
        next_step=next_step,
        at=at,
    )


def _notice(
    kind: Kind,
    dedupe_key: str,
    transition: tuple[object, ...],
    *,
    company: str,
    connector: str | None = None,
    order_id: str | None = None,
    sku: str | None = None,
    letter: str | None = None,
    reason: str | None = None,
    owner: str,
    text: str,
    next_step: str | None,
    at: datetime,
) -> Notice:
    """`transition` is what tells it from another of the same kind and case."""
    return Notice(
        id=hashlib.sha256(repr((kind, dedupe_key, transition)).encode()).hexdigest()[:16],
        kind=kind,
        severity=SEVERITIES[kind],
        company=_cut(company, _NAME_BYTES),
        connector=_cut(connector, _NAME_BYTES),
        order_id=_cut(order_id, _NAME_BYTES),
        sku=_cut(sku, _NAME_BYTES),
        letter=_cut(letter, _NAME_BYTES),
        reason=_cut(reason, _NAME_BYTES),
        owner=_cut(owner, _NAME_BYTES),
        text=_cut(text, _WORDS_BYTES),
        next_step=_cut(next_step, _WORDS_BYTES),
        at=at,
        dedupe_key=_cut(dedupe_key, 2 * _NAME_BYTES),
    )


@overload
def _cut(text: str, size: int) -> str: ...
@overload
def _cut(text: None, size: int) -> None: ...
@overload
def _cut(text: str | None, size: int) -> str | None: ...
def _cut(text: str | None, size: int) -> str | None:
    """At most so many bytes of UTF-8, whole characters."""
    return None if text is None else text.encode(errors="replace")[:size].decode(errors="ignore")
