"""Resident memory of a worker over millions of events, and of one seen id."""

from statistics import median

from tests.bench.harness import Bar, Check, Figure, Outcome, SumsDifferError
from tests.bench.world import Child, World


def run(place: World) -> Outcome:
    events, kept, ids = (500_000, 60_000, 600_000) if place.quick else (5_000_000, 600_000, 4_000_000)
    place.progress(f"memory: {events:,} events, {kept:,} kept in the horizon")
    with Child(place.folder, "tests.bench.memory_process", str(events), str(kept)) as child:
        done = child.wait_for("done", 600)
        samples = [fields for name, fields in child.heard() if name == "sample"]
    if done["finished"] != done["events"]:
        raise SumsDifferError(f"only {done['finished']} of {done['events']} events are finished")
    # Warm once every event of the horizon has been replaced: dicts that lose and gain entries have found their size.
    warm = [sample for sample in samples if sample["events"] > 0.3 * events]
    first, last = warm[: len(warm) // 5], warm[-(len(warm) // 5) :]
    grown = median(one["rss"] for one in last) / median(one["rss"] for one in first)
    held = [sample["ids"] for sample in warm]
    place.progress(f"memory: a seen id, up to {ids:,}")
    with Child(place.folder, "tests.bench.seen_process", str(ids)) as child:
        child.wait_for("done", 300)
        fills = [fields for name, fields in child.heard() if name == "fill"]
    worst = max(fills, key=lambda fill: float(fill["bytes"]))
    note = f"{min(held):,} to {max(held):,} ids in the horizon; after {warm[0]['events']:,} of {events:,} events"
    return Outcome(
        (
            Figure("worker: resident", "MiB", tuple(one["rss"] / 2**20 for one in warm), note),
            Figure("a seen id", "bytes", tuple(one["bytes"] for one in fills), f"at fills up to {fills[-1]['ids']:,}"),
        ),
        (
            Check("memory at the end against warm", grown, "x", Bar("at most", 1.05), note),
            Check(
                "a seen id at the worst fill",
                worst["bytes"],
                "bytes",
                Bar("at most", 120, ratio=False),
                f"{worst['ids']:,} ids",
            ),
        ),
    )
