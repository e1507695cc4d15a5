"""Bytes of resident memory a seen id costs, at one fill after the other: `python -m tests.bench.seen_process IDS`.

A process of its own: what others have left free would be counted as nothing. The ids come in as a rebuild brings them,
over as many partitions as a worker may have.
"""

import json
import os
import sys

from streams.windows.seen import Seen
from tests.bench.corpus import PARTITIONS, skus
from tests.bench.memory_process import rss

_EPOCH, _STEP = 1_000, 1.06


def run(most: int) -> None:
    sets = [Seen() for _ in range(PARTITIONS)]
    names, empty, ids, due = skus(200), rss(), 0, most / 10
    while ids < most:
        for number, seen in enumerate(sets):
            added: list[int] = []
            for start in range(ids, ids + _EPOCH, 5):
                members = [f"adj-1-{number:02d}{start + n:08d}" for n in range(5)]
                seen.add_columns("warehouse", names[start % len(names)], "MAIN", members, os.urandom(80), added)
            seen.close_epoch(float(ids), added)
        ids += _EPOCH
        total = sum(map(len, sets))
        if total >= due:
            due = total * _STEP
            sys.stdout.write(f"fill {json.dumps({'ids': total, 'bytes': (rss() - empty) / total})}\n")
        if total >= most:
            break
    sys.stdout.write("done {}\n")


if __name__ == "__main__":
    run(int(sys.argv[1]))
