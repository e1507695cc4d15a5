"""How long is waited before the next attempt."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.flow_control.backoff import FullJitter


@given(st.integers(0, 200), st.floats(0.01, 5), st.floats(5, 60), st.integers())
def test_jitter_is_between_nothing_and_a_doubling_bound(attempt: int, base_s: float, cap_s: float, seed: int) -> None:
    wait_s = FullJitter(Random(seed), base_s, cap_s).wait_s(attempt)
    assert 0 <= wait_s <= min(cap_s, base_s * 2 ** min(attempt, 20))
