"""Where a company's B1 stands, for people: from its circuit breaker to the component state."""

from streams.flow_control.circuit_breaker import BreakerState
from streams.telemetry.component_states import ComponentStates

#: Why the breaker of a new poster is open: it asks first, and there is nothing wrong yet.
NOT_PROVED = "the claim table is not proved yet"


def report_b1(components: ComponentStates, company: str, state: BreakerState, reason: str, _owner: str) -> None:
    """Say where the company stands after a change of its breaker; a `CircuitBreaker` observer."""
    if reason != NOT_PROVED:
        components.report("company", company, None if state == "closed" else _hold_reason(state, reason), reason)


def _hold_reason(state: BreakerState, reason: str) -> str:
    if "doctor --install" in reason:
        return "not_installed"
    if state == "open":
        return "unreachable"
    return "password_refused" if "password" in reason else "failed"
