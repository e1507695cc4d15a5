"""Whether a posting that comes out of the queue is new, by what is known of its K. Pure."""

from collections import OrderedDict

from schemas.records import DeadLetterState, Posting
from streams.ports import Counts
from streams.posting.in_flight import InFlightPosting, origin_of
from streams.posting.lifecycle import Trigger

#: Ks that have ended, remembered to answer repeats without asking B1; beyond it the claims answer.
_REMEMBERED_KS = 50_000
#: A stock batch's place in its input as one number: the offset, and its index within the epoch.
_INDEX_BITS = 20


def judge(
    posting: Posting,
    in_flight: InFlightPosting | None,
    own: DeadLetterState | None,
    letter: DeadLetterState | None,
    ended: tuple[bytes, str] | None,
) -> Trigger:
    """What a posting is by the first that is known of its K.

    Args:
        posting: What came.
        in_flight: What is in flight under this K.
        own: The dead letter of this very record, whatever became of it.
        letter: The dead letter that stands for this K.
        ended: Digest and origin of what has ended under it.

    Returns:
        ADMITTED, SAME_OCCURRENCE, REPEAT or ID_REUSE.
    """
    if own is not None:
        return Trigger.SAME_OCCURRENCE
    if in_flight is not None:
        digest, same = in_flight.posting.digest, in_flight.origin == origin_of(posting)
    elif letter is not None and letter.digest is not None:
        digest, same = letter.digest, False
    elif ended is not None:
        digest, same = ended[0], ended[1] == origin_of(posting)
    else:
        return Trigger.ADMITTED
    if same:
        return Trigger.SAME_OCCURRENCE
    return Trigger.REPEAT if digest == posting.digest else Trigger.ID_REUSE


class AdmittedKeys:
    """Which Ks are in flight, and which have ended lately.

    Attributes:
        in_flight: By K.
    """

    def __init__(self) -> None:
        self.in_flight: dict[str, InFlightPosting] = {}
        self._ended: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    def judge(self, posting: Posting, own: DeadLetterState | None, letter: DeadLetterState | None) -> Trigger:
        """See `judge`."""
        return judge(posting, self.in_flight.get(posting.k), own, letter, self._ended.get(posting.k))

    def leave(self, work: InFlightPosting, *, remember: bool) -> None:
        """It is no longer in flight; `remember` where no dead letter knows its K."""
        if self.in_flight.get(work.k) is work:
            del self.in_flight[work.k]
        if remember:
            self._ended[work.k] = (work.posting.digest, work.origin)
            if len(self._ended) > _REMEMBERED_KS:
                self._ended.popitem(last=False)


class InputPositions:
    """How far each input partition has been admitted; rides in the commits of the queues.

    Routers send in order, so what lies at or before its input's position was routed twice: a router died between
    sending and committing.
    """

    def __init__(self, counts: Counts) -> None:
        self._reached = {key: place for key, place in counts.items() if key[1].isdigit()}

    def reached(self, topic: str, partition: int) -> int:
        """The offset up to which what an input partition of orders has for this company is admitted."""
        return self._reached.get((topic, str(partition)), 0)

    def advance(self, posting: Posting) -> Counts | None:
        """What to add to the counts for this posting; None: it was routed twice."""
        place = posting.offset << _INDEX_BITS | posting.index if posting.kind == "stock_batch" else posting.offset
        key = (posting.topic, str(posting.partition))
        before = self._reached.get(key, 0)
        if place + 1 <= before:
            return None
        self._reached[key] = place + 1
        return {key: place + 1 - before}
