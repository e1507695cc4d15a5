"""The harness itself: ratios, the two-of-three rule, refusal when sums differ, and corpora that are what they say."""

from collections import Counter
from collections.abc import Callable

import pytest

from schemas.codec import CodecError, embedded_codec
from schemas.events import StockAdjusted
from tests.bench import corpus
from tests.bench.corpus import Sums
from tests.bench.harness import Bar, Check, Figure, Outcome, Round, SumsDifferError, Verdict, interleave, judge, ratio
from tests.bench.table import number, summary
from tests.bench.takeover import toml

BAR = Bar("at most", 6)


def tries(*values: float, bar: Bar = BAR) -> Callable[[], Outcome]:
    """A benchmark that comes to these values, try by try."""
    left = list(values)
    return lambda: Outcome(checks=(Check("cost", left.pop(0), "x", bar),))


def candidate(log: list[str], name: str, sums: str = "right", cpu_s: float = 1.0) -> Callable[[int], Round]:
    def run(number: int) -> Round:
        log.append(f"{name}{number}")
        return Round(1_000, cpu_s, 2 * cpu_s, sums)

    return run


def test_a_bar_that_holds_is_tried_once() -> None:
    verdict = judge("ingest", tries(5.9), quick=False)
    assert (len(verdict.tries), verdict.missed()) == (1, [])


@pytest.mark.parametrize(
    ("values", "used", "missed"),
    [((7, 5, 5), 3, []), ((7, 7, 5), 2, ["cost"]), ((7, 5, 7), 3, ["cost"])],
)
def test_a_bar_is_missed_when_two_of_three_tries_miss_it(
    values: tuple[float, ...], used: int, missed: list[str]
) -> None:
    verdict = judge("ingest", tries(*values), quick=False)
    assert (len(verdict.tries), verdict.missed()) == (used, missed)


def test_checks_are_judged_each_by_itself() -> None:
    left = [(7.0, 1.0), (5.0, 9.0), (5.0, 1.0)]

    def run() -> Outcome:
        one, other = left.pop(0)
        return Outcome(checks=(Check("one", one, "x", BAR), Check("other", other, "x", BAR)))

    verdict = judge("ingest", run, quick=False)
    assert (len(verdict.tries), verdict.missed()) == (3, [])


def test_one_try_is_all_there_is_where_nobody_asks_for_more() -> None:
    assert len(judge("ingest", tries(7, 5, 5), quick=False, again=False).tries) == 1


@pytest.mark.parametrize(
    ("bar", "value", "full", "quick"),
    [
        (Bar("at most", 6), 11.9, False, True),
        (Bar("at most", 6), 12.1, False, False),
        (Bar("at least", 25), 13, False, True),
        (Bar("at least", 25), 12, False, False),
        (Bar("at most", 15, ratio=False), 99, False, True),
        (Bar("is", 0), 0, True, True),
        (Bar("is", 0), 1, False, False),
    ],
)
def test_a_quick_run_loosens_ratios_and_leaves_absolute_figures_alone(
    bar: Bar, value: float, full: bool, quick: bool
) -> None:
    assert (bar.holds(value), bar.holds(value, quick=True)) == (full, quick)


def test_candidates_take_turns_and_the_order_moves_on() -> None:
    log: list[str] = []
    done = interleave({"a": candidate(log, "a"), "b": candidate(log, "b")}, 3, dict.fromkeys("ab", "right"))
    assert log == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert {name: len(rounds) for name, rounds in done.items()} == {"a": 3, "b": 3}


def test_a_candidate_with_other_sums_is_refused_whatever_its_time() -> None:
    log: list[str] = []
    candidates = {"right": candidate(log, "r"), "fast": candidate(log, "f", sums="wrong", cpu_s=0.001)}
    with pytest.raises(SumsDifferError, match="fast"):
        interleave(candidates, 3, dict.fromkeys(candidates, "right"))


def test_a_ratio_is_of_the_medians() -> None:
    assert ratio([30, 10, 999], [5, 1, 6]) == 6
    assert Figure("f", "s", (3, 1, 100)).median == 3
    assert (Round(1_000, 0.5, 1, "").cpu_us, Round(1_000, 0.5, 1, "").wall_us) == (500, 1_000)


def test_json_has_every_try_and_its_rounds() -> None:
    verdict = judge("ingest", tries(7, 5, 5), quick=False)
    told = verdict.as_json()
    assert told["tries"] == 3
    assert told["checks"] == [
        {"name": "cost", "value": 5, "unit": "x", "bar": "at most 6", "state": "once", "note": "", "tries": [7, 5, 5]}
    ]


def test_the_last_line_names_what_was_missed() -> None:
    verdict = Verdict("ingest", [Outcome(checks=(Check("cost", 7, "x", BAR),))] * 2)
    assert summary([verdict], 61.4) == "bench: 1 of 1 bars MISSED in two of three tries (ingest: cost), 61 s"
    assert summary([judge("ingest", tries(5), quick=False)], 9) == "bench: all 1 bars hold, 9 s"
    assert [number(value) for value in (0.01234, 5.678, 1234.5)] == ["0.0123", "5.68", "1,234"]


def test_a_corpus_comes_to_what_it_says_it_does() -> None:
    codec, sums = embedded_codec(), Sums()
    made = list(corpus.make(codec, 5_000, sums, items=50))
    units: Counter[str] = Counter()
    seen: set[str] = set()
    repeats = malformed = 0
    for one in made:
        try:
            event = codec.decode(one.value, StockAdjusted)
        except CodecError:
            malformed += 1
            continue
        if event.event_id in seen:
            repeats += 1
            continue
        seen.add(event.event_id)
        units[event.sku] += int(event.delta * 1_000_000)
    assert str(sums) == corpus.sums_of(units, len(seen), repeats, malformed)
    assert 0.03 * len(made) < repeats < 0.07 * len(made)
    assert malformed


def test_the_same_seed_makes_the_same_events_and_an_item_stays_in_its_partition() -> None:
    codec = embedded_codec()
    one, two = (list(corpus.make(codec, 500, Sums(), seed=3)) for _ in range(2))
    assert [(made.key, made.partition, made.event and made.event.event_id) for made in one] == [
        (made.key, made.partition, made.event and made.event.event_id) for made in two
    ]
    assert len({(made.key, made.partition) for made in one}) == len({made.key for made in one})


@pytest.mark.parametrize(("shape", "least", "most"), [("zipf", 0.08, 0.3), ("uniform", 0.0, 0.03), ("hot", 0.4, 0.6)])
def test_items_are_as_unequal_as_the_shape_says(shape: str, least: float, most: float) -> None:
    keys = Counter(made.key for made in corpus.make(embedded_codec(), 2_000, Sums(), items=200, shape=shape))
    assert least < keys.most_common(1)[0][1] / 2_000 < most


def test_the_workers_file_says_what_the_settings_say() -> None:
    import tomllib

    data = {"kafka": {"local": True, "partitions": 3}, "companies": {"a b": {"w": {"owner": "x"}, "n": 1}}}
    assert tomllib.loads(toml(data)) == data
