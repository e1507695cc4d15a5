"""Which request a fault hits."""

from random import Random

import pytest

from lab.simulators.sap_b1.faults import FaultKind, FaultPlan

BATCH = [("POST", "$batch"), ("POST", "U_STREAMS_CLAIM"), ("POST", "Orders")]
READS = [("POST", "$batch"), ("GET", "Orders?$filter=DocEntry eq 1")]


def test_a_script_hits_the_next_matching_requests_after_those_it_skips() -> None:
    faults = FaultPlan()
    faults.script("slow", method="POST", path="Orders", skip=1, times=2)
    hits = [faults.choose(BATCH, Random(0)) is not None for _ in range(5)]
    assert hits == [False, True, True, False, False]
    assert faults.injected == {"slow": 2}


def test_a_script_matches_by_method_and_pattern() -> None:
    faults = FaultPlan.read({"scripts": [{"kind": "error", "method": "POST", "path": "Orders(*)/Cancel"}]})
    assert faults.choose([("POST", "Orders")], Random(0)) is None
    assert faults.choose([("POST", "Orders(12)/Cancel")], Random(0)) is not None


def test_a_script_without_a_path_spares_logins() -> None:
    faults = FaultPlan()
    faults.script("slow")
    assert faults.choose([("POST", "Login")], Random(0)) is None
    assert faults.choose([("GET", "Items")], Random(0)) is not None


def test_rates_hit_their_share_of_what_they_can_hit() -> None:
    faults = FaultPlan.read({"rates": {"lost_reply_after_commit": 0.25}})
    random = Random(1)
    hits = sum(faults.choose(BATCH, random) is not None for _ in range(1000))
    assert 200 < hits < 300
    assert not any(faults.choose(READS, random) for _ in range(100))
    assert not any(faults.choose([("POST", "OrdersService_Preview")], random) for _ in range(100))


@pytest.mark.parametrize(
    ("kind", "hit"),
    [
        (FaultKind.LOGIN_COLLISION, [("POST", "Login")]),
        (FaultKind.TRUNCATED_BATCH, READS),
        (FaultKind.SESSION_KILL, [("GET", "Items")]),
        (FaultKind.APPROVAL, BATCH),
        (FaultKind.DUPLICATE, [("PATCH", "Orders(1)")]),
    ],
)
def test_a_rate_of_one_always_hits_in_its_scope(kind: FaultKind, hit: list[tuple[str, str]]) -> None:
    faults = FaultPlan()
    faults.rate(kind, 1)
    chosen = faults.choose(hit, Random(0))
    assert chosen is not None
    assert chosen.kind is kind
    assert faults.choose([("POST", "Logout")], Random(0)) is None


def test_clear_drops_rates_and_scripts() -> None:
    faults = FaultPlan.read({"rates": {"slow": {"rate": 1, "after_s": 2}}, "scripts": [{"kind": "slow"}]})
    assert faults.scripts_left == 1
    faults.update({"clear": True})
    assert (faults.choose(BATCH, Random(0)), faults.scripts_left) == (None, 0)


@pytest.mark.parametrize(
    "data", [{"rates": {"no": 1}}, {"rates": {"slow": 2}}, {"scripts": [{"kind": "slow", "x": 1}]}, {"x": 1}]
)
def test_what_is_not_a_fault_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"unknown|not a valid|between"):
        FaultPlan.read(data)
