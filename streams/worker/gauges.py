"""What cannot be counted where it happens: who waits in this process, for what, and for how long."""

from collections import Counter

from connectors.base.clock import Clock
from schemas.events import EVENT_TYPES
from schemas.topics import flow_of
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import Pipeline

Key = tuple[str, str]


class Gauges:
    """Lifecycle: `show` every few seconds."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock
        self._parked: set[Key] = set()
        self._dead: set[Key] = set()

    def show(self, pipeline: Pipeline) -> None:
        metrics, now = self._metrics, self._clock.now().timestamp()
        windows = list(pipeline.partitions.values())
        metrics.window_open_events.set(sum(partition.open_events for partition in windows))
        metrics.window_oldest_open.set(max((partition.open_s for partition in windows), default=0.0))
        posters = list(pipeline.posters.values())
        oldest = dict.fromkeys(EVENT_TYPES, 0.0)
        for poster in posters:
            metrics.lanes_active(poster.company).set(poster.lanes.active)
            metrics.lanes_blocked(poster.company).set(poster.lanes.blocked)
            for posting in poster.in_flight():
                flow = flow_of(posting.kind)
                oldest[flow] = max(oldest[flow], now - posting.timestamp_ms / 1000)
            locked = [one.locked_since for one in poster.erp.writes if one.locked_since is not None]
            blocked_s = self._clock.monotonic() - min(locked) if locked else 0.0
            metrics.lane_blocked_oldest(poster.company).set(blocked_s)
        for flow, age_s in oldest.items():
            metrics.oldest_unposted_age(flow).set(age_s)
        for flow in EVENT_TYPES:
            unknown = [
                one.unknown_since
                for poster in posters
                for one in poster.erp.writes
                if one.flow == flow and one.unknown_since is not None
            ]
            metrics.ambiguous_postings(flow).set(len(unknown))
            metrics.ambiguous_oldest(flow).set(self._clock.monotonic() - min(unknown) if unknown else 0.0)
        self._show_dead_letters(pipeline, now)

    def _show_dead_letters(self, pipeline: Pipeline, now: float) -> None:
        parked, dead = Counter[Key](), Counter[Key]()
        parked_s, dead_s = dict[Key, float](), dict[Key, float]()
        for poster in pipeline.posters.values():
            for letter in poster.dead_letters():
                flow, age_s = flow_of(letter.event_type), now - letter.first_failed_at.timestamp()
                if letter.state == "parked":
                    _add((flow, letter.reason), age_s, parked, parked_s)
                elif letter.state == "dead":
                    _add((flow, letter.owner), age_s, dead, dead_s)
        for key in self._parked | parked.keys():
            self._metrics.parked_events(*key).set(parked[key])
            self._metrics.parked_oldest(*key).set(parked_s.get(key, 0.0))
        for key in self._dead | dead.keys():
            self._metrics.dead_letters_open(*key).set(dead[key])
            self._metrics.dead_letter_oldest(*key).set(dead_s.get(key, 0.0))
        self._parked, self._dead = set(parked), set(dead)


def _add(key: Key, age_s: float, counts: Counter[Key], oldest: dict[Key, float]) -> None:
    counts[key] += 1
    oldest[key] = max(oldest.get(key, 0.0), age_s)
