"""Two worker processes against one, on the same input."""

import os
from functools import partial

from tests.bench import harness, ingest
from tests.bench.harness import Bar, Check, Outcome
from tests.bench.world import World

#: Two workers, the broker and this process: with fewer cores two processes share what one had.
CORES = 4


def run(place: World) -> Outcome:
    """One try: interleaved rounds with one process and with two."""
    events, rounds = (40_000, 2) if place.quick else (200_000, 5)
    place.progress(f"two processes: filling {events:,} events")
    on = ingest.fill(place, events, seed=3)
    runs = ingest.Rounds(place, on)
    candidates = {
        "one process": ingest.noted(place, "one process", partial(runs.ours, 1)),
        "two processes": ingest.noted(place, "two processes", partial(runs.ours, 2)),
    }
    done = harness.interleave(candidates, rounds, dict.fromkeys(candidates, str(on.sums)))
    one, two = done["one process"], done["two processes"]
    free = free_cores()
    figures = (*harness.figures("one process", one), *harness.figures("two processes", two))
    if free >= CORES:
        faster = harness.ratio([each.wall_us for each in one], [each.wall_us for each in two])
        check = Check("two processes against one", faster, "x as fast", Bar("at least", 1.6), f"{free} cores are free")
    else:
        dearer = harness.ratio([each.cpu_us for each in two], [each.cpu_us for each in one])
        note = f"{free} of the {CORES} cores that the speed would need are free: CPU per event is judged instead"
        check = Check("two processes against one", dearer, "x CPU per event", Bar("at most", 1.15), note)
    return Outcome(figures, (check,))


def free_cores() -> int:
    """Cores that we may use and nobody else does, by the load of the last minute; the broker's own is ours."""
    others = max(0.0, os.getloadavg()[0] - 2.5)
    return max(1, int(len(os.sched_getaffinity(0)) - others))
