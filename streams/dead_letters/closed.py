"""Closed dead letters after their time: counted in a commit, then no longer kept (architecture section 7). Pure.

`streams status` counts events by the states of their dead letters. When a company's poster lets go of old ones, it
adds them to the counts that it commits, and says in the same commit up to when it has (`until`): whoever counts passes
over what is older, whether or not its tombstone is there yet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from connectors.base.dead_letters import INBOX
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState
from schemas.topics import QUEUE_DAYS, flow_of

#: How long a closed dead letter is kept: as long as its record may come again from the queue, and a week.
KEPT_S = (QUEUE_DAYS + 7) * 86_400
#: Beside counts of ends: events that were never in a fact's topic, and further records of those that were.
REFUSED_BEFORE, REPUBLISHED = "refused", "republished"
UNTIL = "closed_until"
_COUNTED_AS = {"posted": "posted", "no_op": "no_op", "discarded": "no_op"}

Counts = Mapping[tuple[str, str], int]


def until_key(company: str) -> tuple[str, str]:
    """Where a commit says up to when (Unix seconds) closed dead letters of a company are counted in it."""
    return UNTIL, company


def is_counted(letter: DeadLetterState, commits: Counts) -> bool:
    """Whether a closed dead letter is among what is committed."""
    return is_older(letter, commits.get(until_key(letter.company), 0))


def is_older(letter: DeadLetterState, until_s: int) -> bool:
    """Whether a dead letter was closed by then."""
    return letter.state not in OPEN_STATES and letter.at.timestamp() <= until_s


def counts_of(letters: Iterable[DeadLetterState]) -> dict[tuple[str, str], int]:
    """What closed dead letters add to the counts of a commit, in source events, by flow."""
    counts: Counter[tuple[str, str]] = Counter()
    for letter in letters:
        flow, events = flow_of(letter.event_type), len(letter.members) or 1
        if letter.state in _COUNTED_AS:
            counts[flow, _COUNTED_AS[letter.state]] += events
        if was_never_a_fact(letter):
            counts[flow, REFUSED_BEFORE] += events
        counts[flow, REPUBLISHED] += events * letter.republished
    return {key: events for key, events in counts.items() if events}


def was_never_a_fact(letter: DeadLetterState) -> bool:
    """Whether its record was refused before it was in a fact's topic."""
    return letter.partition < 0 or letter.event_type == INBOX
