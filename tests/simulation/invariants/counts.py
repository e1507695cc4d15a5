"""I1: published = posted + no_op + parked + dead, of each flow, as `streams status` counts."""

from collections import Counter
from collections.abc import Mapping

from schemas.records import DeadLetterState
from schemas.topics import FACTS, event_type
from streams.faust_host.watermarks import decode_counts
from tests.simulation.invariants.view import ENDS, View


def _flow(letter: DeadLetterState) -> str:
    return "stock_adjusted" if letter.event_type == "stock_batch" else letter.event_type


def check_counts(view: View, posted: Mapping[str, int]) -> None:
    """I1 as `streams status` shows it: published = posted + no_op + parked + dead, of each flow."""
    received: Counter[str] = Counter()
    for (topic, _), lying in view.broker.partitions.items():
        if topic in FACTS:
            received[event_type(topic)] += len(lying.records)
    ended: Counter[tuple[str, str]] = Counter()
    for committed in view.broker.committed.values():
        ended.update({key: n for key, n in decode_counts(committed.metadata).items() if key[1] in ("posted", "no_op")})
    for letter in view.letters.values():
        ended[_flow(letter), ENDS[letter.state]] += len(letter.members) or 1
    for topic in FACTS:
        flow = event_type(topic)
        ends = {end: ended[flow, end] for end in ("posted", "no_op", "parked", "dead")}
        if sum(ends.values()) != received[flow]:
            view.report(f"I1: {flow}: {received[flow]} published, ended {ends}")
        if posted.get(flow, 0) >= 0 and ends["posted"] != posted.get(flow, 0):
            view.report(f"I1: {flow}: counted as posted {ends['posted']}, in B1 {posted.get(flow, 0)}")
