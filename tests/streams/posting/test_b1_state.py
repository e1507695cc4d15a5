"""Where B1 stands is what its breaker says, in the words of the closed list."""

import pytest

from connectors.sap_b1.service_layer import NotInstalledError, PasswordRefusedError
from streams.flow_control.circuit_breaker import BreakerState
from streams.posting.b1_state import NOT_PROVED, report_b1
from streams.telemetry.metrics import Metrics
from tests.streams import fakes


@pytest.mark.parametrize(
    ("state", "hold_reason", "shown"),
    [
        ("open", None, ("away", "unreachable")),
        ("held", PasswordRefusedError.hold_reason, ("held", "password_refused")),
        ("open", NotInstalledError.hold_reason, ("held", "not_installed")),
        ("held", None, ("held", "failed")),
    ],
)
def test_a_change_of_the_breaker_is_the_companys_state(
    state: BreakerState, hold_reason: str | None, shown: tuple[str, str]
) -> None:
    components = Metrics(fakes.config()).components
    reason = "a custom text: the password was refused; run streams doctor --install"  # decides nothing
    report_b1(components, "acme", "open", NOT_PROVED, None)
    assert components.not_working() == []
    report_b1(components, "acme", state, reason, hold_reason)
    (now,) = components.not_working()
    assert (now.kind, now.name, now.state, now.reason, now.detail) == ("company", "acme", *shown, reason)
    report_b1(components, "acme", "closed", "", None)
    assert components.not_working() == []
