"""Whether Kafka answers this process, which nobody else can say while it does not."""

import asyncio

from connectors.base.errors import LogError
from streams.kafka.log import Log
from streams.telemetry.component_states import ComponentStates
from streams.telemetry.vitals import Vitals

#: Between two looks; each may take as long as the log asks.
LOOK_S = 5.0
#: An answer takes milliseconds, and seconds while a leader moves.
ANSWER_S = 10.0
NAME = "kafka"


class KafkaWatch:
    """Asks, and says so in `/readyz`, the metric and the log.

    Lifecycle: `run` as a task, cancelled at the stop.

    Args:
        log: Started.
        topic: The broker's name of a topic of ours.
        states: The memory of this process.
        vitals: Not ready while Kafka is away: nothing could be taken or finished.
    """

    def __init__(self, log: Log, topic: str, states: ComponentStates, vitals: Vitals) -> None:
        self._log, self._topic, self._states, self._vitals = log, topic, states, vitals

    async def run(self) -> None:
        while True:
            await self.look()
            self._states.remind()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._log.bounds(self._topic, 0)
        except (LogError, TimeoutError) as error:
            words = str(error) or f"no answer in {ANSWER_S:.0f} s"
            self._states.report("kafka", NAME, "kafka_away", words)
            self._vitals.expect(NAME, words)
        else:
            self._states.report("kafka", NAME)
            self._vitals.ready(NAME)
