"""Where B1 stands is what its breaker says, in the words of the closed list."""

import pytest

from streams.flow_control.circuit_breaker import BreakerState
from streams.posting.b1_state import NOT_PROVED, report_b1
from streams.telemetry.metrics import Metrics
from tests.streams import fakes


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        ("open", "B1 does not answer", ("away", "unreachable")),
        ("held", "B1 refused user x, its password or company", ("held", "password_refused")),
        ("open", "B1 lacks @STREAMS_CLAIM: run streams doctor --install", ("held", "not_installed")),
        ("held", "something else", ("held", "failed")),
    ],
)
def test_a_change_of_the_breaker_is_the_companys_state(
    state: BreakerState, reason: str, shown: tuple[str, str]
) -> None:
    components = Metrics(fakes.config()).components
    report_b1(components, "acme", "open", NOT_PROVED, "platform")
    assert components.not_working() == []
    report_b1(components, "acme", state, reason, "platform")
    (now,) = components.not_working()
    assert (now.kind, now.name, now.state, now.reason, now.detail) == ("company", "acme", *shown, reason)
    report_b1(components, "acme", "closed", "", "")
    assert components.not_working() == []
