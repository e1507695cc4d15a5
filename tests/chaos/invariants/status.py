"""What `streams status` says is what happened."""

from collections import Counter

from tests.chaos.invariants.view import ENDS, View


def check_status(view: View) -> None:
    flows = view.evidence.status.get("flows", {})
    for flow in sorted({*flows, *view.ends}):
        told, ends = flows.get(flow, {}), view.ends.get(flow, Counter[str]())
        for end in ENDS:
            if told.get(end, 0) != ends[end]:
                view.report("status", f"{flow} {end}", ends[end], told.get(end, 0))
        received = sum(ends.values())
        if told.get("received", 0) != received:
            view.report("status", f"{flow} received", received, told.get("received", 0))
