"""A walk through the table: postings of one order, B1 as a set of claims, restarts at any moment; no event loop.

The real admission, index of dead letters and schedule decide; the walk does what the rows say. Whatever is drawn, every
occurrence is counted once, nothing that is held waits for something that has ended, and in the end everything has an
end or waits for a person.
"""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.letters import REASONS
from schemas.records import DeadLetterState, Posting
from streams.dead_letters.index import DeadLetterIndex, OpenDeadLetter
from streams.dead_letters.publisher import id_of
from streams.posting import schedule
from streams.posting.admission import AdmittedKeys, InputPositions
from streams.posting.in_flight import InFlightPosting, origin_of
from streams.posting.lifecycle import COUNTED_AS, FINAL, OPEN, Effect, State, Trigger, follow
from tests import builders
from tests.builders import AT

KINDS = ("order_placed", "dispatch_confirmed", "refund_issued")
#: What may be drawn as the answer to a posting; the last ones are reasons.
ANSWERS = (
    "applied",
    "applied",
    "nothing to do",
    "outcome unknown",
    "away",
    "not all there",
    "total_mismatch",
    "total_mismatch",
    "negative_stock",
    "order_not_found",
    "invoice_not_found",
)
_MAX_AGE_S = 1000.0


class Walk(RuleBasedStateMachine):
    """One company's poster, without anything that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.queue: list[Posting] = []  # `erp-orders`, in order
        self.claims: dict[str, str] = {}  # in B1: the origin that made it, by K
        self.written: dict[str, DeadLetterState] = {}  # `dead-letter-state`
        self.committed, self.counts, self.positions = 0, Counter[str](), Counter[tuple[str, str]]()
        self.start()

    def start(self) -> None:
        """As a process begins: from what is committed and written."""
        self.keys, self.inputs = AdmittedKeys(), InputPositions(dict(self.positions))
        self.index = DeadLetterIndex(lambda _, source: (source,))
        self.admitted, self.finished = self.committed, dict[int, tuple[str | None, dict[tuple[str, str], int]]]()
        self.works: list[InFlightPosting] = []  # the order's sequence
        for letter in sorted(self.written.values(), key=lambda one: (one.first_failed_at, one.sequence)):
            self.take_over(letter, soon=True)
        self.release_waiting(ended=False)

    # ---- what may happen

    @rule(
        events=st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(1, 2), st.sampled_from(b"aaab")), min_size=1, max_size=4
        ),
        twice=st.booleans(),
        admitted=st.booleans(),
    )
    def events_are_queued(self, events: list[tuple[str, int, int]], twice: bool, admitted: bool) -> None:
        """`twice`: a router dies between sending the last one and committing; `admitted`.

        All of them before one is run.
        """
        for kind, number, content in events:
            offset = len({one.offset for one in self.queue if one.kind == kind})
            self.queue.append(builders.posting(kind, k=f"{kind}-{number}", digest=bytes([content]) * 16, offset=offset))
        if twice:
            self.queue.append(self.queue[-1])
        while admitted and self.admitted < len(self.queue):
            self.admit()

    def admit(self) -> None:
        offset, posting = self.admitted, self.queue[self.admitted]
        self.admitted += 1
        reached = self.inputs.advance(posting)
        if reached is None:
            self.finish(offset, None, {})
            return

        def finish(ending: str | None) -> None:
            self.finish(offset, ending, dict(reached))

        work = InFlightPosting(posting, builders.order(), finish, offset + 1)
        own = self.index.known(id_of(posting.kind, posting.topic, posting.partition, posting.offset, posting.index))
        row = follow(State.NEW, self.keys.judge(posting, own, self.index.of_key(posting.k)))
        first = self.keys.in_flight.get(posting.k)
        if row.effect is Effect.SEND:
            self.send(work)
        elif row.effect is Effect.WRITE:
            self.write(work, row.to, "id_reuse", None)
        else:
            assert row.effect is Effect.FOLLOW
            ending = COUNTED_AS[row.to]
            if first is not None:
                first.followers.append(lambda: finish(ending))
            else:
                finish(ending)

    @rule(answers=st.lists(st.sampled_from(ANSWERS), min_size=3, max_size=8))
    def the_order_goes_on(self, answers: list[str]) -> None:
        for answer in answers:
            if self.admitted < len(self.queue):
                self.admit()
            if self.works:
                self.run_one(answer)

    def run_one(self, answer: str) -> None:
        work = self.works[0]
        trigger, reason, blocked_by = self.answer(work, answer)
        row = follow(work.state, trigger)
        if row.effect in (Effect.SEND_AGAIN, Effect.WAIT):
            return
        self.works.pop(0)
        match row.effect:
            case Effect.FINISH:
                self.close(work, row.to)
            case Effect.WRITE:
                self.write(work, row.to, reason, blocked_by)
            case Effect.KEEP:
                assert work.letter is not None
                entry = self.index.get(work.letter.id)
                assert entry is not None
                entry.in_flight = False
                self.leave(work, None)
            case other:
                raise AssertionError(other)
        self.release_waiting(ended=row.effect is Effect.FINISH)

    def answer(self, work: InFlightPosting, answer: str) -> tuple[Trigger, str, str | None]:
        """What B1 and the rules say: trigger, reason, blocker.

        `answer` is drawn, and counts where nothing else decides.
        """
        posting = work.posting
        made_by = self.claims.get(work.k)
        if work.only_look and answer == "not all there":
            return Trigger.NOT_FOUND, "", None
        if made_by is not None and not (work.only_look and answer in REASONS):
            return (Trigger.ADOPTED if made_by == work.origin else Trigger.FOUND_OTHERS), "", None
        blocker = self.index.blocker(posting.order_id or "", posting.kind, posting.source or "", work.letter)
        if blocker is not None and not work.only_look:
            return Trigger.BLOCKED, blocker.reason, blocker.id
        if answer in ("applied", "not all there"):
            self.claims[work.k] = work.origin
            return Trigger.CREATED, "", None
        if answer not in REASONS:
            trigger = {"outcome unknown": Trigger.OUTCOME_UNKNOWN, "away": Trigger.ERP_AWAY}
            return trigger.get(answer, Trigger.NOTHING_TO_DO), "", None
        if REASONS[answer].ends_as == "dead":
            return Trigger.REFUSED, answer, None
        entry = None if work.letter is None else self.index.get(work.letter.id)
        expired = entry is not None and schedule.age_s(entry, self.now_s) > _MAX_AGE_S
        return (Trigger.EXPIRED if expired else Trigger.MUST_WAIT), answer, None

    @precondition(lambda self: any(entry.letter.state != "parked" for entry in self.index.open()))
    @rule(data=st.data(), others=st.booleans())
    def a_late_request_is_applied(self, data: st.DataObject, others: bool) -> None:
        """`others`: made by another record of the same event."""
        letters = [entry.letter for entry in self.index.open() if entry.letter.state != "parked"]
        letter = data.draw(st.sampled_from(letters))
        origin = origin_of(replace(self.queue[letter.sequence - 1], offset=letter.offset))
        self.claims.setdefault(letter.k or "", "another" if others else origin)
        self.time_passes(61.0)

    @rule(seconds=st.sampled_from([1.0, 61.0, 61.0, 700.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        for entry in schedule.due(self.index.open(), self.now_s, parked=True):
            self.release(entry, Trigger.DUE)
        for entry in list(schedule.due(self.index.open(), self.now_s, parked=False)):
            entry.retry = schedule.next_look(entry.letter, entry.retry, self.wall, self.now_s)
            if entry.letter.k in self.claims:
                self.release(entry, None)

    @precondition(lambda self: any(not entry.in_flight for entry in self.index.open()))
    @rule(data=st.data())
    def a_person_has_it_tried_again(self, data: st.DataObject) -> None:
        waiting = [entry for entry in self.index.open() if not entry.in_flight]
        self.release(data.draw(st.sampled_from(waiting)), Trigger.REPLAY)

    @precondition(lambda self: any(not entry.in_flight for entry in self.index.open()))
    @rule(data=st.data())
    def a_person_discards_it(self, data: st.DataObject) -> None:
        waiting = [entry for entry in self.index.open() if not entry.in_flight]
        letter = data.draw(st.sampled_from(waiting)).letter
        row = follow(State(letter.state), Trigger.DISCARD)
        self.written[letter.id] = replace(letter, state=row.to.value, at=self.wall)
        self.index.put(self.written[letter.id])
        self.release_waiting(ended=False)

    @rule(applied=st.booleans())
    def the_process_dies(self, applied: bool) -> None:
        """`applied`: when B1 has taken its request, and it has not written so."""
        if applied and self.works:
            self.answer(self.works[0], "applied")
        self.start()

    # ---- what the rows say

    @property
    def wall(self):  # type: ignore[no-untyped-def]
        return AT + timedelta(seconds=self.now_s)

    def send(self, work: InFlightPosting) -> None:
        assert work.k not in self.keys.in_flight
        self.keys.in_flight[work.k] = work
        self.works.append(work)

    def release(self, entry: OpenDeadLetter, trigger: Trigger | None) -> None:
        letter = entry.letter
        if trigger is not None:
            assert follow(State(letter.state), trigger).effect is Effect.SEND
        if letter.k in self.keys.in_flight:
            entry.in_flight = False
            return
        entry.in_flight = True
        posting = replace(self.queue[letter.sequence - 1], offset=letter.offset)
        self.send(
            InFlightPosting(
                posting, builders.order(), lambda _: None, letter.sequence, letter, only_look=trigger is None
            )
        )

    def release_waiting(self, *, ended: bool) -> None:
        for entry, trigger in schedule.released(self.index, "1", ended=ended):
            self.release(entry, trigger)

    def close(self, work: InFlightPosting, to: State) -> None:
        if work.letter is not None:
            self.written[work.letter.id] = replace(work.letter, state=to.value, blocked_by=None, at=self.wall)
            self.index.put(self.written[work.letter.id])
        self.leave(work, COUNTED_AS[to] if work.letter is None else None, remember=True)

    def write(self, work: InFlightPosting, to: State, reason: str, blocked_by: str | None) -> None:
        posting = work.posting
        if work.letter is None:
            id_ = id_of(posting.kind, posting.topic, posting.partition, posting.offset, posting.index)
            letter = builders.dead_letter(
                work.sequence,
                id=id_,
                state=to.value,
                reason=reason,
                k=work.k,
                digest=posting.digest,
                event_type=posting.kind,
                topic=posting.topic,
                offset=posting.offset,
                blocked_by=blocked_by,
                first_failed_at=self.wall,
                at=self.wall,
            )
        else:
            entry = self.index.get(work.letter.id)
            waited_s = 0 if entry is None else int(schedule.age_s(entry, self.now_s))
            letter = replace(
                work.letter, state=to.value, reason=reason, blocked_by=blocked_by, at=self.wall, waited_s=waited_s
            )
        self.written[letter.id] = letter
        self.take_over(letter)
        self.leave(work, None)

    def take_over(self, letter: DeadLetterState, *, soon: bool = False) -> None:
        before = self.index.known(letter.id)
        entry = self.index.put(letter)
        if entry is not None:
            entry.in_flight, entry.since_s = False, self.now_s
            entry.retry = schedule.first_retry(letter, before, entry.retry, self.wall, self.now_s, soon=soon)

    def leave(self, work: InFlightPosting, ending: str | None, *, remember: bool = False) -> None:
        self.keys.leave(work, remember=remember)
        work.finish(ending)  # type: ignore[arg-type]
        for follower in work.followers:
            follower()

    def finish(self, offset: int, ending: str | None, reached: dict[tuple[str, str], int]) -> None:
        """What is finished without a gap is committed, with its counts and positions."""
        assert offset not in self.finished
        self.finished[offset] = ending, reached
        while self.committed in self.finished:
            ending, reached = self.finished[self.committed]
            self.counts.update([ending] if ending else [])
            self.positions.update(reached)
            self.committed += 1

    # ---- what must hold

    @invariant()
    def everything_that_is_committed_is_counted_once(self) -> None:
        counted = self.counts.total() + sum(COUNTED_AS[State(one.state)] is not None for one in self.written.values())
        occurrences = {(posting.topic, posting.offset) for posting in self.queue[: self.committed]}
        beyond = sum((one.topic, one.offset) not in occurrences for one in self.written.values())
        assert counted == len(occurrences) + beyond

    @invariant()
    def what_is_held_waits_for_something_that_is_open(self) -> None:
        """By name, or for one that is in flight, after whose end it is looked at again."""
        for entry in self.index.open():
            letter = entry.letter
            if letter.state == "held" and not entry.in_flight and self.index.get(letter.blocked_by or "") is None:
                blocker = self.index.blocker("1", letter.event_type, letter.source or "", letter)
                assert blocker is not None
                assert (other := self.index.get(blocker.id)) is not None
                assert other.in_flight

    @invariant()
    def what_is_in_flight_out_of_a_dead_letter_leaves_it_open(self) -> None:
        for work in self.keys.in_flight.values():
            assert work.letter is None or State(self.written[work.letter.id].state) in OPEN

    def teardown(self) -> None:
        """Nothing goes wrong any more: what does not wait for a person ends."""
        for _ in range(200):
            while self.admitted < len(self.queue):
                self.admit()
            while self.works:
                self.run_one("applied")
            if not any(one.letter.state == "parked" for one in self.index.open()):
                break
            self.time_passes(700.0)
        assert self.committed == len(self.queue)
        self.everything_that_is_committed_is_counted_once()
        dead = {entry.letter.id for entry in self.index.open() if entry.letter.state == "dead"}
        for entry in self.index.open():
            assert entry.letter.state in ("dead", "held")
            blocked_by = entry.letter.blocked_by
            while blocked_by is not None and blocked_by not in dead:  # held by what is held: in the end by what is dead
                held = self.index.get(blocked_by)
                assert held is not None
                blocked_by = held.letter.blocked_by
        assert all(State(one.state) in FINAL | OPEN for one in self.written.values())


Walk.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestWalk = Walk.TestCase
