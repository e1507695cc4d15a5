"""I1: every line of the files became what was expected of it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.evidence import Record
from tests.chaos.generator import ANY, NO_OP, POSTED
from tests.chaos.invariants.view import Fact, View


def _once(records: Sequence[Record]) -> Iterator[Record]:
    """Dead letters of lines, each once: written again after a crash it has the same id."""
    seen: set[bytes] = set()
    for record in records:
        if record.headers["b1streams.id"] not in seen:
            seen.add(record.headers["b1streams.id"])
            yield record


def check_lines(view: View) -> int:
    """Each line of the files against what became of it; how many facts came twice for one line."""
    refused = Counter(
        record.value
        for topic, records in view.evidence.records.items()
        if topic.endswith("-dead-letter")
        for record in _once(records)
    )
    again = 0
    for seen in view.lines.values():
        line = seen.line
        where = f"{line.flow} {line.token} ({' '.join(line.identity)})"
        if not line.published:
            if line.expected == NO_OP:
                view.ends[line.flow][NO_OP] += seen.written
                if seen.facts:
                    view.report("double", where, "nothing to post", f"{len(seen.facts)} facts")
                continue
            view.ends[line.flow]["dead"] += seen.written
            if refused[line.text.encode()] != seen.written:
                view.report("lost", where, f"{seen.written} letters", refused[line.text.encode()])
            continue
        if len(seen.facts) < seen.written:
            view.report("lost", where, f"{seen.written} facts", len(seen.facts))
            continue
        again += len(seen.facts) - seen.written
        place = min(seen.facts)
        end = view.end_of_fact[place]
        letter = view.letter_of_fact.get(place)
        reason = letter.state["reason"] if letter is not None else ""
        expected, _, why = line.expected.partition(":")
        if expected != ANY and (end != expected or (why and why != reason)):
            netted = line.flow == "stock_adjusted" and expected == POSTED and end == NO_OP
            if not netted or not _nets_to_nothing(view, place):
                view.report("end" if end else "lost", where, line.expected, f"{end or 'nothing'} {reason}".strip())
        if end == POSTED or (line.flow == "stock_adjusted" and end == NO_OP):
            for item, warehouse, units in line.moves:
                view.moves[item, warehouse] += units
    return again


def _nets_to_nothing(view: View, place: Fact) -> bool:
    member = view.members.get(place[1:])
    return member is not None and bool(member[0]["net"] == 0)
