"""What goes wrong with the broker."""


class KafkaSetupError(Exception):
    """The broker cannot be installed, started or reached; the message is one line that says what to do."""


ADVICE = "or set KAFKA_BOOTSTRAP_SERVERS to a cluster that you have"
