"""A real single-node Apache Kafka (KRaft) without Docker, for the demo and the tests."""

import base64
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.kafka.errors import KafkaSetupError
from lab.kafka.jars import install
from lab.kafka.java import find_java

_CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}/log
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=1000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""

_LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss,SSS} %-5p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""

# Metadata request, version 5, no topics: header (api 3, version, correlation 1, no client id), an empty list of topics,
# no auto-creation. The answer lists the brokers that take work, so it says more than an open port.
_METADATA_REQUEST = struct.pack(">hhihib", 3, 5, 1, -1, 0, 0)


class Kafka:
    """One broker on free loopback ports, over a data directory.

    Lifecycle: `start` formats an empty directory and returns when the broker takes work; `stop` ends it in order and
    `kill` does not; `start` again brings it back with the same data on the same ports. As a context manager it starts
    and stops, and removes a data directory of its own making. All calls block (from async code: `asyncio.to_thread`).

    Attributes:
        bootstrap_servers: `host:port`, for clients.
        data: Holds the broker's log, its configuration and `kafka.log`, which tells why it did not come up.
    """

    def __init__(self, data: Path | None = None, *, port: int | None = None, heap_mb: int = 512) -> None:
        self._temporary = data is None
        self.data = Path(tempfile.mkdtemp(prefix="b1-streams-kafka-")) if data is None else data.absolute()
        ports = _free_ports(2)
        self.port = port or ports[0]
        self._controller_port = ports[1]
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, *, timeout_s: float = 60) -> None:
        """Start the broker, or start it again, and wait until it takes work.

        Raises:
            KafkaSetupError: There is no Java or no jars, a port is taken, or the broker did not come up in time.
        """
        if self.pid is not None:
            return
        for port in (self.port, self._controller_port):
            _check_free(port)
        java, jars = find_java(), install()
        self.data.mkdir(parents=True, exist_ok=True)
        config, log4j = self.data / "server.properties", self.data / "log4j2.properties"
        config.write_text(
            _CONFIG.format(port=self.port, controller_port=self._controller_port, data=self.data), encoding="utf-8"
        )
        log4j.write_text(_LOG4J, encoding="utf-8")
        options = [java, f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.awt.headless=true"]
        options += [f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{jars}/*"]
        if not (self.data / "log" / "meta.properties").exists():
            random = uuid.uuid4().bytes
            # An id that begins with a hyphen is taken for an option
            cluster = base64.urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).decode().rstrip("=")
            self._format([*options, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)])
        with self._log_path.open("ab") as log:
            # A session of its own: Ctrl-C at a demo's terminal must not take the broker from workers that still drain.
            self._process = subprocess.Popen(  # noqa: S603 -- our own words
                [*options, "kafka.Kafka", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers(time.monotonic() + timeout_s)

    def stop(self, *, timeout_s: float = 20) -> None:
        """End the broker in order; kill it when it does not end in time."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: the broker has no time to say goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop, and remove the data directory if it was made here."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)

    @property
    def _log_path(self) -> Path:
        return self.data / "kafka.log"

    def _format(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own words
        if done.returncode != 0:
            raise KafkaSetupError(f"Kafka could not format {self.data}:\n{(done.stdout + done.stderr).strip()[-2000:]}")

    def _wait_until_it_answers(self, deadline: float) -> None:
        assert self._process is not None  # noqa: S101 -- start() has just made it
        while not _takes_work("127.0.0.1", self.port):
            if self._process.poll() is not None:
                self._process = None
                raise KafkaSetupError(f"Kafka ended while it started:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise KafkaSetupError(f"Kafka did not come up in time:\n{self._tail()}")
            time.sleep(0.05)

    def _tail(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")[-2000:]


def check_reachable(bootstrap_servers: str) -> None:
    """Ask a cluster that somebody named whether it is there, before anything else waits for it.

    Args:
        bootstrap_servers: `host:port`, several with commas; one that answers is enough.

    Raises:
        KafkaSetupError: Nobody answers there as a broker does.
    """
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if port.isdecimal() and _takes_work(host.strip("[]") or "127.0.0.1", int(port)):
            return
    raise KafkaSetupError(
        f"no Kafka answers at KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}: start it, correct the address, or unset the "
        "variable and one is started here."
    )


def _takes_work(host: str, port: int) -> bool:
    """Ask for the metadata: at least one broker is registered and unfenced."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
            answer = connection.recv(16, socket.MSG_WAITALL)
    except OSError:
        return False
    # Size, correlation, throttle time, number of brokers.
    return len(answer) == 16 and struct.unpack(">iiii", answer)[3] > 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _check_free(port: int) -> None:
    """Else we would take whoever answers there for our broker."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise KafkaSetupError(f"port {port} is in use: {error.strerror}") from error
