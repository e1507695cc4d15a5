"""What goes wrong with Kafka, as everybody else sees it."""


class LogError(Exception):
    """Kafka did not do what was asked, or did not say so in time.

    Attributes:
        retriable: The same call may succeed later. After a failed send nobody knows whether the record lies in the log:
            sending it again may write it twice, and its readers must know it by its identity.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable
