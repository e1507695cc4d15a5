"""`streams dlq list | show ID`: dead letters, parked and held events."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from schemas.codec import Codec, CodecError
from schemas.events import EVENT_TYPES
from schemas.letters import REASONS
from schemas.records import DeadLetterState, StockBatch
from schemas.topics import dead_letter_topic
from streams.cli import shell
from streams.config.load import Config
from streams.kafka.client import Record
from streams.query import orders as trail
from streams.query.status import is_open
from streams.telemetry.logs import escape

app = typer.Typer(
    help="Dead letters and parked events: what could not be posted, why, and who acts.", no_args_is_help=True
)

STATES = ("dead", "parked", "held", "posted", "no_op", "replayed", "discarded")
MASK = "***"
#: Fields of a payload that say nothing about a person; everything else is masked.
_SHOWN = frozenset(
    {
        *(
            "type",
            "source",
            "company",
            "event_id",
            "occurred_at",
            "observed_at",
            "order_id",
            "order_number",
            "channel",
            "state",
        ),
        *(
            "currency",
            "lines",
            "line_id",
            "sku",
            "quantity",
            "unit_price",
            "discount",
            "tax_code",
            "tax_rate",
            "tax_amount",
        ),
        *("location", "to_location", "shipping", "method", "carrier", "service", "amount", "tax_total", "grand_total"),
        *(
            "payment",
            "shipment_id",
            "refund_id",
            "restock",
            "adjustment",
            "total",
            "delta",
            "level",
            "sequence",
            "reason",
        ),
        *(
            "batches",
            "number",
            "expires_on",
            "serials",
            "country",
            "guest",
            "net",
            "posting_date",
            "event_ids",
            "deltas",
        ),
    }
)
_INSIDE = frozenset({"customer", "ship_to", "bill_to"})  # shown as objects, so that one sees what is missing


@app.command("list")
def list_letters(
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated")] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic, as order-placed")] = None,
    owner: Annotated[str | None, typer.Option(help="Only what this owner fixes")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order id")] = None,
    item: Annotated[str | None, typer.Option(help="Only this sku, or what waits for this item")] = None,
    since: Annotated[datetime | None, typer.Option(help="First failed at or after (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option(help="First failed before (UTC)")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="dead, parked, held, ... or all; default: what is open")
    ] = None,
) -> None:
    """List what could not be posted; without --state what somebody or something still has to fix."""
    _refuse_unknown("--reason", reason, REASONS)
    _refuse_unknown("--state", state, (*STATES, "all"))
    settings = shell.read_config(config)
    chosen = [
        letter
        for letter in shell.wait_for(_letters(settings))
        if _in_state(letter, state)
        and (not reason or letter.reason in reason)
        and (topic is None or settings.topic(topic.removeprefix(settings.kafka.topic_prefix)) in _topics_of(letter))
        and (owner is None or letter.owner == owner)
        and (order is None or letter.order_id == order)
        and (item is None or letter.sku == item or letter.waits_for == f"item:{item}")
        and (since is None or letter.first_failed_at >= _aware(since))
        and (until is None or letter.first_failed_at < _aware(until))
    ]
    if as_json:
        shell.print_json([row(letter) for letter in chosen])
        return
    columns = ["id", "state", "reason", "event", "event id", "order", "sku", "owner", "since", "what was wrong"]
    shell.print_table(
        columns,
        [
            (x.id, x.state, x.reason, x.event_type, x.event_id or f"{len(x.members)} events", x.order_id, x.sku,
             x.owner, x.first_failed_at.isoformat(timespec="seconds"), x.error)
            for x in chosen
        ],
    )  # fmt: skip
    shell.say(f"{len(chosen)} letters" if chosen else "nothing is dead, parked or held")


@app.command()
def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, or its beginning")],
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Show one letter: where it stands, its headers, and its payload with everything about people masked."""
    settings = shell.read_config(config)
    letter, record = shell.wait_for(_letter(settings, ident))
    told = {
        **row(letter),
        "source": letter.source,
        "impact": REASONS[letter.reason].impact if letter.reason in REASONS else None,
        "remedy": REASONS[letter.reason].remedy if letter.reason in REASONS else None,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "k": letter.k,
        "by": letter.by,
        "partition": letter.partition,
        "offset": letter.offset,
        "letter": {"topic": letter.letter_topic, "partition": letter.letter_partition, "offset": letter.letter_offset},
        "headers": None if record is None else {name: value.decode(errors="replace") for name, value in record.headers},
        "payload": None if record is None else view_of(record, letter, shell.codec_of(settings)),
    }
    if as_json:
        shell.print_json(told)
        return
    shell.print_table(["", ""], [(key, value) for key, value in told.items() if key not in ("headers", "payload")])
    shell.print_table(["header", "value"], list((told["headers"] or {}).items()))
    shell.say("payload (people masked):" if record is not None else "its bytes are no longer in the log")
    for line in json.dumps(told["payload"], indent=2, ensure_ascii=True).splitlines() if record is not None else []:
        shell.say(line)


async def _letters(config: Config) -> list[DeadLetterState]:
    async with shell.open_log(config) as log:
        found = await trail.letters(log, config, shell.codec_of(config))
    return sorted(found.values(), key=lambda letter: (letter.first_failed_at, letter.id))


async def _letter(config: Config, ident: str) -> tuple[DeadLetterState, Record | None]:
    async with shell.open_log(config) as log:
        letters = await trail.letters(log, config, shell.codec_of(config))
        found = [letter for name, letter in letters.items() if name.startswith(ident)]
        if len(found) != 1:
            what = "there is no such letter" if not found else f"{len(found)} letters begin with that"
            raise shell.CommandError(what, "streams dlq list --state all names every id")
        letter = found[0]
        return letter, await trail.record_at(log, letter.letter_topic, letter.letter_partition, letter.letter_offset)


def row(letter: DeadLetterState) -> dict[str, Any]:
    """A letter as `streams dlq list --json` has it (contract section 6)."""
    return {
        "id": letter.id,
        "topic": letter.topic,
        "reason": letter.reason,
        "state": letter.state,
        "owner": letter.owner,
        "event_type": letter.event_type,
        "event_id": letter.event_id,
        "members": list(letter.members),
        "order_id": letter.order_id,
        "sku": letter.sku,
        "company": letter.company,
        "at": letter.at.isoformat(),
        "attempts": letter.attempts,
        "waits_for": letter.waits_for,
        "blocked_by": letter.blocked_by,
        "error": letter.error,
    }


def view_of(record: Record, letter: DeadLetterState, codec: Codec) -> Any:
    """A payload with everything about people masked; what cannot be read is told by its length only."""
    value = record.value or b""
    try:
        return masked(_plain(codec.decode(value, (*EVENT_TYPES.values(), StockBatch))))
    except CodecError:
        pass
    try:
        line = json.loads(value, parse_float=Decimal)
    except ValueError:
        line = None
    return masked(_plain(line)) if isinstance(line, dict) else f"{len(value)} bytes that are no event"


def masked(value: Any, key: str | None = None) -> Any:
    """The same shape, with every value whose key is not known to be harmless as `***`."""
    if isinstance(value, Mapping):
        return {
            str(name) if str(name) in _SHOWN | _INSIDE else escape(str(name), 40): masked(item, str(name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, key) for item in value]
    return value if value is None or key in _SHOWN else MASK


def _plain(value: Any) -> Any:
    """As JSON has it, without bytes."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value


def _in_state(letter: DeadLetterState, states: list[str] | None) -> bool:
    if not states:
        return is_open(letter)
    return "all" in states or letter.state in states


def _topics_of(letter: DeadLetterState) -> set[str]:
    return {letter.topic, letter.letter_topic, dead_letter_topic(letter.topic)}


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _refuse_unknown(option: str, given: Iterable[str] | None, known: Iterable[str]) -> None:
    for value in given or ():
        if value not in known:
            raise shell.CommandError(f"{option} {value} is not known", f"write one of: {', '.join(known)}", code=2)
