"""Whether the audit chain is whole: all that was written is there, as it was written. Pure.

A record that does not name the last one is ignored by every reader. Two are no damage: the same record once more (a
producer's retry), and one whose writer met another, tried again and stands further on under the same id. Any other
says that something was changed, taken out or put in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.codec import CodecError
from schemas.records import Anchor, AuditRecord
from streams.chain.rule import ChainRootError, Head, start_of_walk


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it lies in the log."""

    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What a walk has shown.

    Attributes:
        records: How many stand.
        broken_at: The first offset that does not fit; None: the chain is whole.
        why: What is wrong there.
    """

    records: int
    broken_at: int | None = None
    why: str | None = None


def verify(
    entries: Sequence[Entry],
    start: int,
    end: int,
    anchors: Sequence[Anchor],
    decode: Callable[[bytes], AuditRecord],
) -> AuditVerdict:
    """Walk a log.

    Args:
        entries: Its records, offsets ascending.
        start: The first offset that it holds.
        end: The one behind its last.
        anchors: Places of the chain that were written down beside it.
        decode: Reads a record; may raise `CodecError`.
    """
    try:
        _, first, head = start_of_walk("audit", 0, start, anchors)
    except ChainRootError as error:
        return AuditVerdict(0, start, str(error))
    known = {anchor.offset: Head(anchor.number, anchor.digest) for anchor in anchors}
    accepted: set[str] = set()
    passed: list[tuple[int, str]] = []  # (offset, id) of records that name an earlier one
    heads, broken = {head}, None
    for entry in [entry for entry in entries if entry.offset >= first]:
        if entry.offset in known and known[entry.offset] != head:
            broken = entry.offset, "what lies before it is not what was written there"
            break
        try:
            record = decode(entry.value)
        except CodecError:
            broken = entry.offset, "it is no record of the audit"
            break
        if head.accepts(record.number, record.prev_digest):
            head = head.after(entry.value)
            heads.add(head)
            accepted.add(record.id)
        elif Head(record.number, record.prev_digest) in heads:
            passed.append((entry.offset, record.id))
        else:
            broken = entry.offset, "the record that it names is not the one before it: one was changed or taken out"
            break
    strange = [offset for offset, id_ in passed if id_ not in accepted]
    if strange and (broken is None or strange[0] < broken[0]):
        broken = strange[0], "it was put beside the chain: its writer does not stand further on"
    if broken is None and (lost := [offset for offset in known if offset > end]):
        broken = end, f"the log ends here, and was once written up to offset {max(lost)}"
    if broken is None and known.get(end, head) != head:
        broken = end, "what lies before it is not what was written there"
    return AuditVerdict(len(accepted), *(broken or (None, None)))
