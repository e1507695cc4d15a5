"""The independent checker: what went in against what is in the books, record by record.

It shares nothing with the pipeline: it walks the chains, makes the keys and does the sums by itself, from the design's
words. The numbers I1 to I12 are those of the invariants.
"""

from tests.chaos.evidence import Evidence
from tests.chaos.invariants.batches import check_batches
from tests.chaos.invariants.chains import check_chains
from tests.chaos.invariants.claims import check_claims
from tests.chaos.invariants.ends import check_end
from tests.chaos.invariants.facts import first_of_each, match_facts
from tests.chaos.invariants.letters import check_letters
from tests.chaos.invariants.lines import check_lines
from tests.chaos.invariants.money import check_money
from tests.chaos.invariants.offsets import check_offsets
from tests.chaos.invariants.processes import check_processes
from tests.chaos.invariants.status import check_status
from tests.chaos.invariants.units import check_units
from tests.chaos.invariants.verdict import Verdict
from tests.chaos.invariants.view import View


def check(evidence: Evidence) -> Verdict:
    """Judge a run."""
    view = View(evidence)
    match_facts(view)
    check_chains(view)
    check_batches(view)
    first = first_of_each(view)
    for place, event in view.facts.items():
        check_end(view, place, event, first)
    again = check_lines(view)
    check_money(view)
    check_units(view)
    check_claims(view)
    check_letters(view)
    check_offsets(view)
    check_processes(view)
    check_status(view)
    events = sum(seen.written for seen in view.lines.values())
    return Verdict(
        tuple(view.wrong),
        {flow: dict(ends) for flow, ends in view.ends.items()},
        events,
        again,
        len(view.evidence.samples),
    )
