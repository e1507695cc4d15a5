"""Ten thousand dead letters of one reason are a handful of messages, and a position never passes what was not told."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.base.settings import Secret
from connectors.notices.settings import NoticeTargetSettings
from schemas.records import Notice
from streams.notices.grouping import TargetGroups

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
DEAD = Notice(
    id="0",
    kind="dead",
    severity="warning",
    company="acme",
    connector="shop",
    letter="l0",
    reason="erp_refused",
    owner="operations",
    text="B1 says no",
    at=AT,
    dedupe_key="letter/l0",
)
HELD = replace(
    DEAD, kind="held", severity="critical", letter=None, reason=None, owner="platform", dedupe_key="held/acme"
)


def groups(wait_s: float = 30, interval_s: float = 300, **target: Any) -> TargetGroups:
    settings = NoticeTargetSettings(webhook=Secret("w", "https://hooks.example/x"), **target)
    made = TargetGroups(settings, wait_s, interval_s)
    made.assign(0, 0)
    return made


def test_ten_thousand_dead_letters_of_one_reason_are_two_messages_with_the_count_and_five_examples() -> None:
    of = groups()
    counts, examples = [], []
    for n in range(10_000):
        of.add(0, n, replace(DEAD, id=str(n)), now_s=n * 0.005)
        if (message := of.next_message(n * 0.005)) is not None:
            counts.append(message.groups[0].count)
            examples.append(len(message.groups[0].examples))
            of.settle()
    assert (counts, examples) == ([6001], [5])
    assert of.next_message(329) is None
    last = of.next_message(331)
    assert last is not None
    assert last.groups[0].count == 10_000 - 6001


def test_alike_is_company_kind_reason_and_owner_whatever_the_connector_and_one_message_has_all_that_are_due() -> None:
    of = groups(wait_s=0)
    others = [
        {"connector": "market"},
        {"company": "beta"},
        {"reason": "unmapped_item"},
        {"kind": "parked"},
        {"owner": "finance"},
    ]
    of.add(0, 0, DEAD, 0)
    for n, other in enumerate(others, start=1):
        of.add(0, n, replace(DEAD, id=str(n), **other), 0)  # type: ignore[arg-type]
    of.add(0, 9, HELD, 0)
    message = of.next_message(0)
    assert message is not None
    assert [group.count for group in message.groups] == [1, 2, 1, 1, 1, 1]
    assert message.groups[0].severity == "critical"


def test_a_target_gets_what_it_asked_for() -> None:
    for target, wanted in (
        ({}, ["a", "b"]),
        ({"owners": ("platform",)}, ["b"]),
        ({"kinds": ("dead",)}, ["a"]),
        ({"companies": ("beta",)}, []),
        ({"severity": "critical"}, ["b"]),
    ):
        of = groups(wait_s=0, **target)
        of.add(0, 0, replace(DEAD, id="a"), 0)
        of.add(0, 1, replace(HELD, id="b"), 0)
        message = of.next_message(0)
        shown = [] if message is None else [one.id for group in message.groups for one in group.examples]
        assert sorted(shown) == wanted
        of.settle()
        assert of.position(0) == 2


def test_the_same_notices_make_the_same_message_and_others_another() -> None:
    def id_of(*ids: str) -> str:
        of = groups(wait_s=0)
        for n, id_ in enumerate(ids):
            of.add(0, n, replace(DEAD, id=id_), 0)
        message = of.next_message(0)
        assert message is not None
        return message.id

    assert id_of("a", "b") == id_of("a", "b") != id_of("a", "c")


@given(st.lists(st.sampled_from(["dead", "held", "tick", "send", "settle"]), max_size=60), st.integers(0, 5))
def test_what_a_successor_reads_and_what_was_told_are_together_everything(steps: list[str], start: int) -> None:
    """Whenever it dies: from its position on everything that was not delivered is read again."""
    of = TargetGroups(NoticeTargetSettings(webhook=Secret("w", "https://hooks.example/x")), 30, 300)
    of.assign(0, start)
    now_s, offset = 0.0, start
    waiting: set[int] = set()
    under_way: set[int] = set()
    sent: dict[str, int] = {}
    for step in steps:
        if step in ("dead", "held"):
            of.add(0, offset, replace(DEAD if step == "dead" else HELD, id=f"{step}{offset}"), now_s)
            sent[f"{step}{offset}"] = offset
            waiting.add(offset)
            offset += 1
        elif step == "tick":
            now_s += 31
        elif step == "send" and not under_way and (message := of.next_message(now_s)) is not None:
            kinds = {group.kind for group in message.groups}
            under_way = {place for id_, place in sent.items() if place in waiting and id_[:4] in kinds}
            assert sum(group.count for group in message.groups) == len(under_way)
            waiting -= under_way
        elif step == "settle":
            assert of.settle() == len(under_way)
            under_way = set()
        assert of.position(0) == min(waiting | under_way | {offset})
        assert of.waiting == len(waiting | under_way)


def test_what_was_told_before_is_not_told_again_and_what_went_to_another_worker_is_forgotten() -> None:
    of = groups(wait_s=0)
    of.assign(0, 7)
    of.assign(1, 0)
    for n in range(5, 9):
        of.add(0, n, replace(DEAD, id=str(n)), 0)
    of.add(1, 0, replace(DEAD, id="other"), 0)
    of.revoke(1)
    message = of.next_message(0)
    assert message is not None
    assert [one.id for one in message.groups[0].examples][:2] == ["7", "8"]
    assert of.position(0) == 7
    of.settle()
    assert of.position(0) == 9
