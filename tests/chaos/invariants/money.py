"""I3: documents have the totals that the lines had."""

from decimal import Decimal

from tests.chaos.generator import POSTED
from tests.chaos.invariants.view import View, key_of


def check_money(view: View) -> None:
    cancelled = {event["order_id"] for place, event in view.facts.items() if place[0] == "order-cancelled"}
    for seen in view.lines.values():
        line = seen.line
        if line.flow == "order_placed" and cancelled & {*line.identity}:
            continue  # B1 adds up what is left of it
        if line.total is None or not seen.facts or view.end_of_fact.get(min(seen.facts)) != POSTED:
            continue
        for document in view.documents.get(key_of(line.flow, line.connector, *line.identity), ()):
            if Decimal(document["DocTotal"]) != line.total:
                view.report("money", f"{line.flow} {line.identity[0]}", line.total, document["DocTotal"])
