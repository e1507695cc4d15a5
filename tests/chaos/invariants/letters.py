"""Each dead letter has its bytes, and is of a fact that there is."""

from tests.chaos.invariants.view import View


def check_letters(view: View) -> None:
    """Each dead letter has its bytes, and is of a fact or a line that there is."""
    written: set[str] = set()
    for topic, records in view.evidence.records.items():
        if topic.endswith("-dead-letter"):
            written |= {record.headers["b1streams.id"].decode() for record in records}
    for identity, letter in view.letters.items():
        state = letter.state
        if identity not in written:
            view.report("letter", f"letter {identity}", "its bytes in a dead-letter topic", "none")
        place = (state["topic"], state["partition"], state["offset"])
        if state["event_type"] != "stock_batch" and state["partition"] >= 0 and place not in view.facts:
            view.report("letter", f"letter {identity}", "a fact", f"{place}")
