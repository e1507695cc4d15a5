"""The one form of times: in memory aware UTC, on the wire microseconds and days since 1970-01-01."""

from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
MICROSECOND = timedelta(microseconds=1)


def micros_of(time: datetime) -> int:
    """Microseconds since the epoch; a TypeError where the time has no zone."""
    return (time - EPOCH) // MICROSECOND


def datetime_of(micros: int) -> datetime:
    """The opposite of `micros_of`; an OverflowError outside the years 1 to 9999."""
    return EPOCH + MICROSECOND * micros
