"""A connector's publishing beside bare encode-and-send, and a shop's past read and published in flat memory."""

import json
import zlib
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from streams.kafka.client import KafkaLog
from streams.kafka.topics import apply
from tests.bench import corpus, harness, world
from tests.bench.harness import Bar, Check, Figure, Outcome, Round, SumsDifferError
from tests.bench.world import Child, World

PROCESS = "tests.bench.publishing_process"
SHOP = "tests.bench.shop_process"
TOPICS = {"StockAdjusted": "stock-adjusted", "OrderPlaced": "order-placed"}
FACTS = ("order-placed", "dispatch-confirmed", "refund-issued", "order-cancelled", "stock-adjusted")
Ends = dict[tuple[str, int], int]


class Rounds:
    """Runs candidates on topics that they share; what one has added is read back."""

    def __init__(self, place: World, events: int) -> None:
        self._place, self.events, self._count = place, events, 0
        self.prefix = place.prefix()
        self.settings = world.settings(place.bootstrap_servers, self.prefix)
        self.config = world.config(self.settings)
        place.with_log(lambda log: apply(log, self.config))

    def spec(self, **more: Any) -> str:
        """A file that tells a candidate what to do."""
        self._count += 1
        path = self._place.folder / f"{self.prefix}{self._count}.json"
        spec = {
            "servers": self._place.bootstrap_servers,
            "settings": self.settings,
            "events": self.events,
            "round": self._count,
            "topics": {name: self.config.topic(topic) for name, topic in TOPICS.items()},
            **more,
        }
        path.write_text(json.dumps(spec), encoding="utf-8")
        return str(path)

    def ends(self) -> Ends:
        """Where the facts' topics end now."""

        async def work(log: KafkaLog) -> Ends:
            names = [(self.config.topic(name), number) for name in FACTS for number in range(corpus.PARTITIONS)]
            return {each: (await log.bounds(*each))[1] for each in names}

        return self._place.with_log(work)

    def run(self, name: str, _number: int = 0) -> Round:
        before = self.ends()
        with Child(self._place.folder, PROCESS, name, self.spec()) as child:
            child.wait_for("ready")
            child.tell("go")
            done = child.wait_for("done", 180)
        sums = self.sums(before)
        return Round(self.events, done["cpu_s"], done["end"] - done["start"], sums)

    def sums(self, before: Ends) -> str:
        """What lies behind: keys and values in their partitions, in order."""

        async def work(log: KafkaLog) -> str:
            told = []
            for (topic, number), start in before.items():
                count = crc = 0
                async with aclosing(log.read(topic, number, start)) as batches:
                    async for records in batches:
                        for record in records:
                            count, crc = count + 1, zlib.crc32(record.value or b"", zlib.crc32(record.key or b"", crc))
                if count:
                    told.append((self.config.name_of(topic), number, count, crc))
            return json.dumps(told)

        return self._place.with_log(work)


def run(place: World) -> Outcome:
    events, rounds = (20_000, 3) if place.quick else (100_000, 7)
    on = Rounds(place, events)
    place.progress(f"publishing: {events:,} events, {rounds} rounds")
    # The sums of a run that is not timed: the codec and the rival's own partitioner say where everything must be.
    expected = on.run("bare").sums
    candidates = {name: partial(on.run, name) for name in ("bare", "ours")}
    done = harness.interleave(candidates, rounds, dict.fromkeys(candidates, expected))
    figures = [
        *harness.figures(
            "encode and send", done["bare"], "our codec, AIOKafkaProducer.send, answers by 500: no cursor, no letters"
        ),
        *harness.figures("connector", done["ours"], "read, levels, encode, publish, await, cursor written; by 500"),
    ]
    bar = Bar("at most", 2)
    checks = [
        Check(
            f"connector to encode-and-send: {what}",
            harness.ratio([getattr(one, field) for one in done["ours"]], [getattr(one, field) for one in done["bare"]]),
            "x",
            bar,
            "same events, settings and order",
        )
        for what, field in (("CPU", "cpu_us"), ("wall", "wall_us"))[: 1 if place.quick else 2]
    ]
    shop = backfill(place, on)
    return Outcome((*figures, *shop.figures), (*checks, *shop.checks))


def backfill(place: World, on: Rounds) -> Outcome:
    """Orders of a shop, by a bulk operation: all there, and in memory that does not grow."""
    orders = 4_000 if place.quick else 100_000
    place.progress(f"publishing: back-fill of {orders:,} Shopify orders")
    since = datetime(2026, 3, 1, tzinfo=UTC)
    span = {"since": since.isoformat(), "until": (since + timedelta(days=30)).isoformat()}
    before = on.ends()
    with Child(place.folder, SHOP, str(orders), since.isoformat()) as shop:
        listening = shop.wait_for("listening")
        spec = on.spec(url=f"http://127.0.0.1:{listening['port']}", every=max(100, orders // 100), **span)
        with Child(place.folder, PROCESS, "shopify", spec) as child:
            child.wait_for("ready")
            child.tell("go")
            done = child.wait_for("done", 1_800)
            tally = child.wait_for("tally")
            samples = [fields for name, fields in child.heard() if name == "sample"]
    after = on.ends()
    published = {name: 0 for name in FACTS}
    for (topic, number), end in after.items():
        published[on.config.name_of(topic)] += end - before[topic, number]
    expected = {name: orders * listening[name] // listening["orders"] for name in FACTS}
    if published != expected or tally["records"] != orders or tally["refused"]:
        raise SumsDifferError(f"published {published} of {tally}, expected {expected}")
    warm = [one["rss"] for one in samples if one["records"] >= 0.2 * orders]
    fifth = max(1, len(warm) // 5)
    grown = median(warm[-fifth:]) / median(warm[:fifth])
    note = f"{orders:,} orders, {sum(expected.values()):,} events; after {0.2 * orders:,.0f} orders"
    seconds = done["end"] - done["start"]
    return Outcome(
        (
            Figure("back-fill: resident", "MiB", tuple(rss / 2**20 for rss in warm), note),
            Figure("back-fill: orders", "orders/s", (orders / seconds,), f"{seconds:.0f} s, CPU {done['cpu_s']:.0f} s"),
        ),
        (Check("back-fill: memory at the end against warm", grown, "x", Bar("at most", 1.05), note),),
    )
