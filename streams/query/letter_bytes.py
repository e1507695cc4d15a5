"""The bytes of many dead letters, read in ranges and not one by one."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import pairwise

from connectors.base.log import Record
from schemas.records import DeadLetterState
from streams.kafka.log import Log

#: What lies between two wanted records is read along if it is no more than this.
_GAP_RECORDS = 500


async def bytes_of(
    log: Log, letters: Iterable[DeadLetterState]
) -> AsyncGenerator[tuple[DeadLetterState, Record], None]:
    """Each dead letter whose bytes are still there, with its record.

    Raises:
        LogError: The broker cannot be reached.
    """
    places: defaultdict[tuple[str, int], dict[int, list[DeadLetterState]]] = defaultdict(dict)
    for letter in letters:
        if letter.letter_offset >= 0:
            of_place = places[letter.letter_topic, letter.letter_partition]
            of_place.setdefault(letter.letter_offset, []).append(letter)
    for (topic, partition), wanted in places.items():
        for start, end in _ranges(sorted(wanted)):
            async with aclosing(log.read(topic, partition, start, end)) as batches:
                async for records in batches:
                    for record in records:
                        for letter in wanted.get(record.offset, ()):
                            yield letter, record


def _ranges(offsets: list[int]) -> list[tuple[int, int]]:
    """Ranges `[start, end)` that hold all offsets and no long gap."""
    cuts = [
        0,
        *(n for n, (one, two) in enumerate(pairwise(offsets), start=1) if two - one > _GAP_RECORDS),
        len(offsets),
    ]
    return [(offsets[first], offsets[last - 1] + 1) for first, last in pairwise(cuts)]
