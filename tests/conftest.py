"""Fixtures of the whole suite, and what makes a test independent of the others, of the day and of the machine."""

import locale
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.clock import moved

# How fast this machine is, and what else it does, is no property of the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Properties hold on every day or on none: on another one a few examples of each show that it can be run there.
settings.register_profile("another-day", settings.get_profile("any-machine"), max_examples=10)
settings.load_profile("another-day" if moved.is_asked_for() else "any-machine")

#: Moves the clock before any module of ours is imported: some read it while they are imported.
moved.start()


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What processes of ours remember on a machine is not this machine's."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def process_state() -> Iterator[None]:
    """Put back what belongs to the whole process, so that the order of tests does not matter.

    That is the environment, the working directory, the time zone, the locale, every logger, and structlog. A test need
    not clean up any of these itself.
    """
    environ, folder, words = dict(os.environ), Path.cwd(), locale.setlocale(locale.LC_ALL)
    root, disabled = logging.getLogger(), logging.root.manager.disable
    loggers = {logger: _settings(logger) for logger in [root, *_loggers()]}
    is_configured, config = structlog.is_configured(), structlog.get_config().copy()
    yield
    if dict(os.environ) != environ:
        for name in os.environ.keys() - environ.keys():
            del os.environ[name]
        os.environ.update(environ)
    time.tzset()
    os.chdir(folder)
    locale.setlocale(locale.LC_ALL, words)
    logging.disable(disabled)
    for logger in [root, *_loggers()]:
        handlers, level, propagate, is_off = loggers.get(logger, ([], logging.NOTSET, True, False))
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, is_off
        logger.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    if is_configured:
        structlog.configure(**config)


def _loggers() -> list[logging.Logger]:
    return [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]


def _settings(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool, bool]:
    return logger.handlers[:], logger.level, logger.propagate, logger.disabled


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of a real broker: `KAFKA_BOOTSTRAP_SERVERS`, or one started once for this session."""
    from lab.kafka.broker import Kafka, check_reachable
    from lab.kafka.errors import KafkaSetupError

    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    broker = None if given else Kafka()
    try:
        if broker is not None:
            broker.start()
        else:
            check_reachable(str(given))
    except KafkaSetupError as error:
        # One line instead of one traceback for every test that wants it.
        pytest.exit(str(error), returncode=1)
    try:
        yield given or broker.bootstrap_servers
    finally:
        if broker is not None:
            broker.close()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}-"
