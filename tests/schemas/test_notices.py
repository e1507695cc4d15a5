"""Which transitions are news, told under which id, and how large a notice can get."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import embedded_codec
from schemas.letters import REASONS
from schemas.notices import of_blocker, of_component, of_letter
from schemas.records import DeadLetterState

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
LETTER = DeadLetterState(
    id="0123456789abcdef",
    state="dead",
    reason="unmapped_tax_code",
    owner="finance",
    company="acme",
    event_type="order_placed",
    event_id="1001",
    source="shop",
    order_id="1001",
    topic="order-placed",
    partition=3,
    offset=17,
    letter_topic="order-placed-dead-letter",
    letter_partition=3,
    letter_offset=2,
    attempts=1,
    error="tax code GB-5 is not mapped",
    first_failed_at=NOW,
    at=NOW,
)


def id_of(letter: DeadLetterState) -> str:
    notice = of_letter(letter)
    assert notice is not None
    return notice.id


@pytest.mark.parametrize(
    ("state", "kind", "severity"),
    [
        ("dead", "dead", "warning"),
        ("parked", "parked", "warning"),
        ("posted", "released", "info"),
        ("no_op", "released", "info"),
        ("replayed", "replayed", "info"),
        ("discarded", "discarded", "info"),
    ],
)
def test_a_state_is_news_for_its_owner(state: str, kind: str, severity: str) -> None:
    notice = of_letter(replace(LETTER, state=state))
    assert notice is not None
    assert (notice.kind, notice.severity, notice.owner, notice.letter) == (kind, severity, "finance", LETTER.id)
    assert notice.dedupe_key == "letter/0123456789abcdef"
    assert (notice.company, notice.connector, notice.order_id, notice.at) == ("acme", "shop", "1001", NOW)


def test_a_dead_letter_is_told_in_its_own_words_and_with_what_mends_it() -> None:
    notice = of_letter(LETTER)
    assert notice is not None
    assert (notice.text, notice.next_step) == (LETTER.error, REASONS["unmapped_tax_code"].remedy)


def test_an_event_that_is_held_is_told_with_what_holds_it() -> None:
    assert of_letter(replace(LETTER, state="held")) is None
    notice = of_blocker(LETTER, 3, NOW)
    assert (notice.kind, notice.dedupe_key) == ("blocked", "blocked/0123456789abcdef")
    assert notice.text.startswith("3 later events of order 1001 wait since 2026-12-01T09:00:00+00:00 for this one")


def test_a_transition_that_is_written_again_is_the_same_notice() -> None:
    later = replace(LETTER, at=NOW + timedelta(hours=1), attempts=9, waited_s=3600, sequence=4)
    assert id_of(later) == id_of(LETTER)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "parked"},
        {"reason": "erp_refused"},
        {"waits_for": "item:B"},
        {"command": "0f1e"},
        {"replays": 2},
        {"id": "fedcba9876543210"},
    ],
)
def test_another_transition_is_another_notice(changes: dict[str, object]) -> None:
    assert id_of(replace(LETTER, **changes)) != id_of(LETTER)  # type: ignore[arg-type]


def test_what_opens_a_case_and_what_ends_it_share_its_key() -> None:
    held = of_component("held", company="acme", owner="platform", why="wrong password", since=NOW, at=NOW)
    later = NOW + timedelta(hours=1)
    freed = of_component("freed", company="acme", owner="platform", why="B1 lets us in", since=later, at=later)
    shop = of_component(
        "held", company="acme", connector="shop", owner="integration", why="token refused", since=NOW, at=NOW
    )
    assert held.dedupe_key == freed.dedupe_key != shop.dedupe_key
    assert len({held.id, freed.id, shop.id}) == 3
    assert (held.severity, freed.severity) == ("critical", "info")
    assert shop.text == "connector shop is held: token refused"


def test_a_component_is_told_once_as_long_as_its_state_stands_and_again_when_it_comes_back() -> None:
    def held(since: datetime, at: datetime) -> str:
        return of_component("held", company="acme", owner="platform", why="away", since=since, at=at).id

    minute, day = timedelta(minutes=1), timedelta(days=1)
    assert held(NOW, NOW) == held(NOW, NOW + minute)
    assert held(NOW, NOW) != held(NOW + day, NOW + day)


@given(st.text(min_size=500, max_size=5_000))
def test_a_notice_stays_below_8_kib_whatever_was_refused(text: str) -> None:
    letter = replace(LETTER, error=text, order_id=text, sku=text, source=text, event_id=text, waits_for=text)
    notice = of_letter(letter)
    assert notice is not None
    assert len(embedded_codec().encode(notice)) < 8 * 1024
