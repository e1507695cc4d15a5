"""Which of the differences between what a receiver ought to have and what it took are sent now. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.base.settings import OutSettings
from schemas.readings import CONTENT_BYTES, EffectState
from streams.chain.keys import key_of
from streams.delivery.wanted import Subject, Wanted

#: What goes first where several are due: an order before its delivery, an item before its stock, a shipment before the
#: level that shows it (a channel lowers its own figure when it fulfils).
_RANKS = {
    "order_withdrawn": 0,
    "order_released": 0,
    "delivery_posted": 1,
    "item_changed": 2,
    "price_changed": 3,
    "stock_level": 4,
}
#: Between two tries of an effect of which the channel did not say what became of it.
PAUSE_BASE_S, PAUSE_CAP_S = 0.5, 60.0
#: Contents that say as of when they are.
AS_OF = ("item_changed", "price_changed", "stock_level")


@dataclass(slots=True)
class Plan:
    """What to do now.

    Attributes:
        write: States that go nowhere: parked, reported in shadow mode, or nothing to do any more.
        send: States to be written down, and then to be sent.
        waiting: Subjects that wait: for their interval, or for another try.
        next_at: When the first of them is due; None: none waits.
    """

    write: list[EffectState] = field(default_factory=list)
    send: list[EffectState] = field(default_factory=list)
    waiting: set[Subject] = field(default_factory=set)
    next_at: datetime | None = None

    def wait(self, subject: Subject, until: datetime) -> None:
        self.waiting.add(subject)
        self.next_at = until if self.next_at is None else min(self.next_at, until)


class Planner:
    """Decides for one connector.

    Args:
        connector: Its name.
        company: Its company.
        out: What it receives.
        term: Of this process's turn at it.
    """

    def __init__(self, connector: str, company: str, out: OutSettings, term: int) -> None:
        self._connector, self._company, self._out, self._term = connector, company, out, term

    def plan(self, wanted: Iterable[Wanted], states: Mapping[Subject, EffectState], now: datetime) -> Plan:
        """What is due of all that is wanted, and what a process before us has left unfinished.

        Of a subject whose last effect has no known end, that one is sent again first, as it was written down.
        """
        plan = Plan()
        unfinished = {subject for subject, state in states.items() if state.state == "sending"}
        if self._out.mode == "live":
            for subject in unfinished:
                self._try_again(states[subject], now, plan)
        for want in wanted:
            if want.subject in unfinished:
                plan.waiting.add(want.subject)
            else:
                self._judge(want, states.get(want.subject), now, plan)
        plan.send.sort(key=lambda state: (_RANKS[state.type], state.since))
        return plan

    def _try_again(self, state: EffectState, now: datetime, plan: Plan) -> None:
        """At once what another process left; else after a pause that doubles, and nobody else waits for it."""
        pause_s = min(PAUSE_CAP_S, PAUSE_BASE_S * 2.0 ** min(state.attempts, 10))
        due_at = state.at + timedelta(seconds=pause_s) if state.term == self._term else now
        if due_at > now:
            plan.wait(state.subject, due_at)
        else:
            plan.send.append(replace(state, term=self._term, at=now))

    def _judge(self, want: Wanted, state: EffectState | None, now: datetime, plan: Plan) -> None:
        if want.content is None:
            if state is not None and state.state not in ("sent", "no_op"):
                self._settle(state, now, plan)
            return
        content = canonical(want.content)
        if state is not None and state.sent == content and state.sent_type == want.type:
            if state.state != "sent":  # what was to be said otherwise need not be said any more
                self._settle(state, now, plan)
            return
        is_same = state is not None and (state.content, state.type) == (content, want.type)
        if is_same and state is not None and state.state == "dead":
            return  # refused as it is: another content may go
        since = state.since if state is not None and state.state in ("shadow", "parked") else now
        made = self._made(want, state, content, since, now)
        if want.missing:
            error = f"order {want.order_id} lacks {', '.join(want.missing)}; add them in B1 and it goes by itself"
            if state is None or (state.state, state.error) != ("parked", error):
                plan.write.append(replace(made, state="parked", reason="order_incomplete", error=error))
        elif len(content.encode()) > CONTENT_BYTES:
            error = f"{len(content.encode())} bytes, and at most {CONTENT_BYTES} can be sent; split the order in B1"
            plan.write.append(
                replace(made, state="dead", reason="channel_refused", error=error, content=content[:1000])
            )
        elif self._out.mode == "shadow":
            # What was compared with the channel and found there is `no_op`
            if not is_same or (state is not None and state.state not in ("shadow", "no_op")):
                plan.write.append(replace(made, state="shadow"))
        elif (due_at := self._due_at(want, state)) is not None and due_at > now:
            plan.wait(want.subject, due_at)
        else:
            plan.send.append(made)

    def _due_at(self, want: Wanted, state: EffectState | None) -> datetime | None:
        """When a level may go, latest wins until then; None: at once, as a fall to zero and everything else."""
        if want.type != "stock_level" or state is None or state.sent_at is None or want.content is None:
            return None
        if Decimal(want.content["sellable"]) == 0:
            return None
        return state.sent_at + timedelta(seconds=self._out.interval_s)

    def _settle(self, state: EffectState, now: datetime, plan: Plan) -> None:
        """It has what it took last, and nothing else is to be said."""
        no_ops = state.no_ops + (state.state in ("parked", "dead"))
        same: dict[str, Any] = {
            "reason": None,
            "error": None,
            "attempts": 0,
            "no_ops": no_ops,
            "term": self._term,
            "at": now,
        }
        if state.sent is None or state.sent_type is None:
            plan.write.append(replace(state, state="no_op", content="{}", **same))
        else:
            plan.write.append(replace(state, state="sent", content=state.sent, type=state.sent_type, **same))

    def _made(
        self, want: Wanted, state: EffectState | None, content: str, since: datetime, now: datetime
    ) -> EffectState:
        identity: tuple[object, ...]
        if want.type in AS_OF:
            identity = (*want.subject, want.as_of.isoformat(), content)
        elif want.type == "delivery_posted":
            identity = (*want.subject, content)
        else:
            identity = (*want.subject, want.revision)
        return EffectState(
            connector=self._connector,
            company=self._company,
            subject=want.subject,
            term=self._term,
            state="sending",
            k=key_of(want.type, self._company, self._connector, *identity),
            type=want.type,
            content=content,
            as_of=want.as_of,
            sent=state.sent if state is not None else None,
            sent_type=state.sent_type if state is not None else None,
            sent_at=state.sent_at if state is not None else None,
            taken=state.taken if state is not None else 0,
            no_ops=state.no_ops if state is not None else 0,
            revision=want.revision,
            ref=state.ref if state is not None else None,
            order_id=want.order_id,
            order_source=want.order_source,
            sku=want.sku,
            since=since,
            at=now,
        )


def canonical(content: Mapping[str, Any]) -> str:
    """The text of a content: equal contents have equal texts."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
