"""Reading a source to its end."""


async def read_all(source, between=lambda: None):
    """Its batches, from the beginning until it is idle; `between` is called after each."""
    batches, cursor = [], None
    for _ in range(100):
        batches.append(await source.read(cursor))
        cursor = batches[-1].cursor
        between()
        if batches[-1].idle:
            return batches
    raise AssertionError("it never ends")


def names(batches):
    return [(type(event).__name__, event.event_id) for batch in batches for event in batch.events]
