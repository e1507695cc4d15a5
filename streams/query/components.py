"""What does not work, of everything configured: what `streams status` and `streams order` say of it."""

from datetime import datetime

from schemas.codec import Codec
from schemas.records import ComponentState
from streams.config.load import Config
from streams.kafka.log import Log
from streams.telemetry.component_states import TOPIC, read
from streams.telemetry.held import HeldComponent, shown


async def held(log: Log, config: Config, codec: Codec, now: datetime) -> list[HeldComponent]:
    """What does not work, by kind and name; what no process speaks of any more is `not_running`.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state was written by something newer than we are.
    """
    states = await read(log, config.topic(TOPIC), codec)
    found = (shown(state, now) for state in states if _is_configured(state, config))
    return [each for each in found if each is not None]


def _is_configured(state: ComponentState, config: Config) -> bool:
    if state.kind == "company":
        return state.name in config.companies
    if state.kind == "connector":
        return state.name in config.connectors and config.connectors[state.name].enabled
    return state.kind != "target" or state.name in config.notices.targets
