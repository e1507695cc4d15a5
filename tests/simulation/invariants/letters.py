"""I1: the bytes of a dead letter are those that came, and it names what it is."""

from tests.simulation.invariants.view import View


def check_letters(view: View) -> None:
    """The bytes of a dead letter are those that came, and it names what it is."""
    for letter in view.letters.values():
        if letter.event_type == "stock_batch":
            continue
        fact = view.facts.get((letter.topic, letter.partition, letter.offset))
        place = (letter.letter_topic, letter.letter_partition)
        records = view.broker.partitions[place].records
        if fact is None or letter.letter_offset >= len(records) or records[letter.letter_offset].value != fact.value:
            view.report(
                f"I1: letter {letter.id} does not have the bytes of {letter.topic}/{letter.partition}/{letter.offset}"
            )
