"""Read, deliver, commit: a target that is down stops nobody, and a crash loses nothing."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from connectors.base.errors import ConnectorError, FatalError, RejectedError, RetriableError
from connectors.base.log import Record
from connectors.notices.digest import DigestMessage
from schemas.codec import embedded_codec
from schemas.records import Notice
from streams.config.load import Config, parse
from streams.kafka.log import Committed
from streams.notices.notifier import Notifier
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import ENVIRON, ROOT, example
from tests.streams.notices.test_grouping import DEAD
from tests.streams.virtual import NOW, Clock, run

CODEC = embedded_codec()
TOPIC, GROUP = "notices", "b1-streams-notices"


class Topic:
    """The topic, its group's commits, and one member of the group."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.assigned = {0: 1}
        self.places: dict[tuple[str, int], Committed] = {}
        self.position = 0

    def write(self, *notices: Notice) -> None:
        for notice in notices:
            self.records.append(Record(TOPIC, 0, len(self.records), 0, b"acme", CODEC.encode(notice)))

    def rejoin(self) -> None:
        place = self.places.get((TOPIC, 0))
        self.assigned, self.position = {0: self.assigned[0] + 1}, 0 if place is None else place.offset

    async def poll(self, timeout_s: float) -> Sequence[Record]:
        found, self.position = self.records[self.position :], len(self.records)
        await asyncio.sleep(timeout_s)
        return found

    async def commit(self, positions: dict[int, Committed]) -> None:
        self.places |= {(TOPIC, partition): place for partition, place in positions.items()}

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        assert group == GROUP
        return dict(self.places)

    def told(self) -> dict[str, int]:
        place = self.places[TOPIC, 0]
        told: dict[str, int] = json.loads(place.metadata)
        assert place.offset == min(told.values())
        return told


class Target:
    """Takes messages, unless it is down."""

    def __init__(self, down: ConnectorError | None = None) -> None:
        self.down, self.taken, self.tries = down, list[DigestMessage](), list[float]()

    async def send(self, message: DigestMessage) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        if self.down is not None:
            raise self.down
        self.taken.append(message)

    async def close(self) -> None: ...

    def ids(self) -> list[str]:
        return [one.id for message in self.taken for group in message.groups for one in group.examples]


def settings(**targets: object) -> Config:
    hook = {"webhook": "https://hooks.example/x"}
    data = {**example(), "notices": {"group_wait_s": 1, "group_interval_s": 10, "targets": targets or {"ops": hook}}}
    return parse(data, ROOT, ENVIRON)


HOOK = {"webhook": "https://hooks.example/x"}
BOTH = settings(ops=HOOK, finance=HOOK)


def notifier(topic: Topic, config: Config, **targets: Target) -> tuple[Notifier, Metrics, dict[str, str | None]]:
    said: dict[str, str | None] = {}
    metrics = Metrics(config)
    made = Notifier(
        config.notices, targets, topic, topic, TOPIC, GROUP, CODEC, Clock(), Random(1), metrics, said.__setitem__
    )
    return made, metrics, said


async def steps(made: Notifier, seconds: int) -> None:
    for _ in range(seconds):
        await made.step()


def notice(n: int) -> Notice:
    return replace(DEAD, id=f"n{n}", at=NOW)


def value(metrics: Metrics, name: str, target: str) -> float:
    return metrics.registry.get_sample_value(f"b1streams_{name}", {"target": target}) or 0.0


def test_a_position_is_committed_after_delivery() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target()
        made, metrics, _ = notifier(topic, settings(), ops=ops)
        topic.write(notice(1), notice(2))
        await steps(made, 1)
        assert topic.told() == {"ops": 0}
        assert value(metrics, "notices_undelivered", "ops") == 2
        await steps(made, 3)
        assert (ops.ids(), topic.told()) == (["n1", "n2"], {"ops": 2})
        assert value(metrics, "notices_delivered_total", "ops") == 2
        assert value(metrics, "notices_undelivered", "ops") == 0

    run(play())


def test_a_target_that_is_down_stops_no_other_and_gets_all_when_it_is_back() -> None:
    async def play() -> None:
        topic, ops, finance = Topic(), Target(RetriableError("no answer")), Target()
        made, metrics, said = notifier(topic, BOTH, ops=ops, finance=finance)
        for n in range(50):
            topic.write(notice(n))
            await steps(made, 10)
        # The last one is still to come: a group is told at most every 10 s
        assert topic.told()["ops"] == 0
        assert topic.told()["finance"] >= 48
        assert said == {"ops": "no answer", "finance": None}
        assert value(metrics, "notices_undelivered", "ops") == 50
        ops.down = None
        await steps(made, 700)
        assert topic.told() == {"ops": 50, "finance": 50}
        assert sum(group.count for message in ops.taken for group in message.groups) == 50
        assert said == {"ops": None, "finance": None}

    run(play())


def test_pauses_grow_and_a_message_is_given_up_in_the_end_and_counted() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target(FatalError("refused"))
        made, metrics, _ = notifier(topic, settings(), ops=ops)
        topic.write(notice(1))
        await steps(made, int(BOTH.notices.give_up_after_s) + 400)
        gaps = [later - earlier for earlier, later in zip(ops.tries, ops.tries[1:], strict=False)]
        assert min(gaps) >= 5
        assert max(gaps) <= 301
        assert max(gaps[:3]) < 60 < max(gaps)
        assert len(ops.tries) < 400
        assert topic.told() == {"ops": 1}
        assert value(metrics, "notices_given_up_total", "ops") == 1

    run(play())


def test_a_message_that_is_refused_for_good_is_given_up_at_once_and_the_next_one_goes() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target(RejectedError("422"))
        made, metrics, _ = notifier(topic, settings(), ops=ops)
        topic.write(notice(1))
        await steps(made, 5)
        ops.down = None
        topic.write(notice(2))
        await steps(made, 15)
        assert ops.ids() == ["n2"]
        assert value(metrics, "notices_given_up_total", "ops") == 1

    run(play())


def test_after_a_crash_each_target_gets_what_it_was_not_told_and_only_that() -> None:
    async def play() -> None:
        topic, ops, finance = Topic(), Target(RetriableError("down")), Target()
        made, _, _ = notifier(topic, BOTH, ops=ops, finance=finance)
        topic.write(notice(1), notice(2))
        stop = asyncio.Event()
        running = asyncio.create_task(made.run(stop))
        await asyncio.sleep(30)
        stop.set()
        await running
        assert topic.told() == {"ops": 0, "finance": 2}
        topic.rejoin()
        ops.down = None
        topic.write(notice(3))
        made, _, _ = notifier(topic, BOTH, ops=ops, finance=finance)
        await steps(made, 20)
        assert (ops.ids(), finance.ids()) == (["n1", "n2", "n3"], ["n1", "n2", "n3"])

    run(play())


def test_a_transition_that_was_written_twice_is_told_once() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target()
        made, _, _ = notifier(topic, settings(), ops=ops)
        topic.write(notice(1), notice(1))
        await steps(made, 5)
        topic.write(notice(1), notice(2))
        await steps(made, 20)
        assert ops.ids() == ["n1", "n2"]
        assert topic.told() == {"ops": 4}

    run(play())


def test_what_cannot_be_read_and_what_is_too_old_is_passed_over() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target()
        made, _, _ = notifier(topic, settings(), ops=ops)
        topic.records.append(Record(TOPIC, 0, 0, 0, b"acme", b"\x00no notice"))
        topic.write(replace(notice(1), at=NOW.replace(year=2025)), notice(2))
        await steps(made, 5)
        assert (ops.ids(), topic.told()) == (["n2"], {"ops": 3})

    run(play())


def test_a_partition_that_goes_and_comes_back_is_read_from_where_the_group_stands() -> None:
    async def play() -> None:
        topic, ops = Topic(), Target()
        made, _, _ = notifier(topic, settings(), ops=ops)
        topic.write(notice(1))
        await steps(made, 1)
        topic.assigned = {}
        await steps(made, 10)
        assert ops.ids() == []
        topic.assigned = {0: 5}
        topic.position = topic.places[TOPIC, 0].offset
        made._seen.clear()
        await steps(made, 5)
        assert ops.ids() == ["n1"]

    run(play())


def test_what_fails_unexpectedly_ends_the_run_and_is_not_swallowed() -> None:
    async def play() -> None:
        topic = Topic()

        class Broken(Target):
            async def send(self, message: DigestMessage) -> None:
                raise KeyError("a mistake of ours")

        made, _, _ = notifier(topic, settings(), ops=Broken())
        topic.write(notice(1))
        with pytest.raises(KeyError):
            await made.run(asyncio.Event())

    run(play())
