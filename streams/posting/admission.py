"""Whether a posting that comes out of the queue is new, by what is known of its K. Pure."""

from collections import OrderedDict
from collections.abc import Callable

from schemas.records import DeadLetterState, Posting
from streams.ports import Counts
from streams.posting.in_flight import InFlightPosting, origin_of
from streams.posting.lifecycle import Trigger

#: Ks that have ended, remembered to answer repeats without asking B1; beyond it the claims answer.
_REMEMBERED_KS = 50_000
#: A stock batch's place in its input as one number: the offset, and its index within the epoch.
_INDEX_BITS = 20
#: A place in a queue as one number: the number of its log, and the offset. No log holds more records.
_OFFSET_BITS = 44


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

    def origin(self, k: str) -> str | None:
        """Of what is in flight under this K, or has ended lately."""
        if (first := self.in_flight.get(k)) is not None:
            return first.origin
        return self._ended[k][1] if k in self._ended else None

    def leave(self, work: InFlightPosting, *, remember: bool) -> None:
        """It is no longer in flight; `remember` where no dead letter knows its K."""
        if self.in_flight.get(work.k) is work:
            del self.in_flight[work.k]
        if remember:
            self._ended[work.k] = (work.posting.digest, work.origin)
            if len(self._ended) > _REMEMBERED_KS:
                self._ended.popitem(last=False)


#: The number of an input's log, as of the last look (`KnownLogs.number`).
LogNumber = Callable[[str, int], int]


def first_log(_topic: str, _partition: int) -> int:
    """The number of a log in place of which none was ever accepted."""
    return 0


def sequence_of(log: int, offset: int) -> int:
    """A place in a company's queue; it grows with arrival, also beyond the end of a log in place of which another came.

    `log` is the number of the queue's log (`streams.chain.known_logs`): its offsets begin again in each.
    """
    return log << _OFFSET_BITS | offset


class InputPositions:
    """How far each input partition has been admitted; rides in the commits of the queues.

    Routers send in order, so what lies at or before its input's position was routed twice: a router died between
    sending and committing. That holds within one log of the input: a place in another log of the same name is another
    place.
    """

    def __init__(self, counts: Counts, log_number: LogNumber = first_log) -> None:
        """`counts` are those of the queues' commits; `{("order-placed", "3"): 7, ("order-cancelled", "3.1"): 2}`."""
        self._log_number = log_number
        self._reached: dict[tuple[str, int], tuple[int, int]] = {}  # the log's number, and the place in it
        for (topic, where), place in counts.items():
            partition, _, number = where.partition(".")
            if partition.isdigit() and place:
                key = topic, int(partition)
                self._reached[key] = max(self._reached.get(key, (0, 0)), (int(number or 0), place))

    def reached(self, topic: str, partition: int) -> int:
        """The offset up to which what an input partition of orders has for this company is admitted."""
        number, place = self._reached.get((topic, partition), (0, 0))
        return place if number == self._log_number(topic, partition) else 0

    def advance(self, posting: Posting) -> Counts | None:
        """What to add to the counts for this posting; None: its place was admitted before, by all that is known here.

        Of a log before the one that is read now nobody knows that: its K has the last word.
        """
        place = posting.offset << _INDEX_BITS | posting.index if posting.kind == "stock_batch" else posting.offset
        key = posting.topic, posting.partition
        number, before = self._reached.get(key, (posting.log, 0))
        if posting.log < number:
            return {}
        if posting.log == number and place + 1 <= before:
            return None
        self._reached[key] = posting.log, place + 1
        if posting.log == number:
            return {_position(key, number): place + 1 - before}
        return {_position(key, number): -before, _position(key, posting.log): place + 1}


def _position(key: tuple[str, int], number: int) -> tuple[str, str]:
    return key[0], f"{key[1]}.{number}" if number else str(key[1])
