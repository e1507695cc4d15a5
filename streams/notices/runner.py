"""The notifier of one process: made of the configuration, and made again when it has failed."""

import asyncio
from random import Random

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import LogError
from connectors.base.retry import FullJitter, wait
from connectors.notices.mail import MailSender
from connectors.notices.webhook import WebhookSender
from schemas.codec import Codec
from schemas.notices import NOTICES
from streams.config.load import Config
from streams.kafka.connection import Connection
from streams.kafka.group import GroupConsumer
from streams.kafka.log import Log
from streams.notices.notifier import Notifier, OnTarget, Sender
from streams.telemetry.metrics import Metrics

logger = structlog.get_logger(__name__)

_TIMEOUT_S = 30.0
_RESTART_S, _RESTART_CAP_S = 5.0, 300.0


async def run(
    config: Config,
    stop: asyncio.Event,
    *,
    log: Log,
    codec: Codec,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    on_target: OnTarget = lambda _name, _why: None,
) -> None:
    """Tell the targets of `[notices]` until told to stop; without targets there is nothing to do.

    It raises nothing: whatever goes wrong here, events are posted all the same.

    Args:
        config: The configuration in force.
        stop: Set: return; what has not been delivered is, by the next process.
        log: Started, and not stopped here.
        codec: Of the configured registry.
        clock: The time.
        random: For the pauses.
        metrics: What is delivered and what is not.
        on_target: Told when a target does not take a message (why), and when it takes one again (None).
    """
    pause, attempt = FullJitter(random, _RESTART_S, _RESTART_CAP_S), 0
    while config.notices.targets and not stop.is_set():
        try:
            await _run_once(config, stop, log, codec, clock, random, metrics, on_target)
        except LogError as error:
            logger.warning("notices are not read", error=str(error))
        except Exception:
            logger.exception("the notifier has failed")
        await wait(stop, max(_RESTART_S, pause.wait_s(attempt)))
        attempt += 1


async def _run_once(
    config: Config,
    stop: asyncio.Event,
    log: Log,
    codec: Codec,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    on_target: OnTarget,
) -> None:
    topic, group = config.topic(NOTICES), f"{config.group}-notices"
    kafka = config.kafka
    reader = GroupConsumer(
        Connection(kafka.bootstrap_servers, kafka.security(), "b1-streams-notices", _TIMEOUT_S), topic, group
    )
    senders = senders_of(config, clock)
    try:
        await reader.start()
        notifier = Notifier(
            config.notices, senders, reader, log, topic, group, codec, clock, random, metrics, on_target
        )
        await notifier.run(stop)
    finally:
        await reader.stop()
        for sender in senders.values():
            await sender.close()


def senders_of(config: Config, clock: Clock) -> dict[str, Sender]:
    """The targets by name, each as it is reached."""
    senders: dict[str, Sender] = {}
    for name, target in config.notices.targets.items():
        if target.webhook is not None:
            senders[name] = WebhookSender(name, target.webhook, target.secret, clock)
        elif config.notices.smtp is not None:
            senders[name] = MailSender(name, config.notices.smtp, target.email, clock)
    return senders
