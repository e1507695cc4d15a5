"""Where a company's B1 stands, for people: from its circuit breaker to the component state."""

from streams.flow_control.circuit_breaker import BreakerState
from streams.telemetry.component_states import ComponentStates

#: Why the breaker of a new poster is open: it asks first, and there is nothing wrong yet.
NOT_PROVED = "the claim table is not proved yet"


def report_b1(
    components: ComponentStates, company: str, state: BreakerState, reason: str, hold_reason: str | None
) -> None:
    """Say where the company stands after a change of its breaker; a `CircuitBreaker` observer."""
    if state == "closed":
        components.report("company", company)
    elif reason != NOT_PROVED:
        components.report("company", company, hold_reason or ("unreachable" if state == "open" else "failed"), reason)
