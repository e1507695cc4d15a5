"""Every fact is of a line of the files; of equal identities the first one counts."""

from tests.chaos.invariants.view import Fact, View, identity_of, place_name, token_of


def match_facts(view: View) -> None:
    for place, event in view.facts.items():
        token = token_of(event)
        if token not in view.lines:
            view.report("double", place_name(place), "an event of the files", f"token {token}")
            continue
        view.lines[token].facts.append(place)


def first_of_each(view: View) -> dict[tuple[str, ...], Fact]:
    """By source and identity, the occurrence that counts: equal identities lie on one partition, in order."""
    first: dict[tuple[str, ...], Fact] = {}
    for place, event in sorted(view.facts.items()):
        first.setdefault(identity_of(place, event), place)
    return first
