"""Real sales of a real shop, as the files that its shop system and its warehouse would write (contract sections 1, 3).

A row of the Online Retail data set (`data/README.md`) becomes:

* an order line, where the invoice has six digits and the price is above 0; carriage codes become the order's shipping,
  other codes that are no item are left out and counted. Every row is a line of its own, also where an invoice names an
  item twice;
* its dispatch: some hours later, about one order in seven in two parts; what falls after the last day of the data is
  not dispatched yet;
* a refund, where the invoice is a credit note (`C...`): of the latest earlier order of the same customer, item and
  price with quantity left, else without an order. One note can become several refunds, one for each order it touches;
* a stock adjustment, where the price is 0; the reason is read from its free text. On an invoice that also has priced
  lines the goods were given away, so the quantity leaves.

Everything is computed from the rows and a seed; the day of the run only moves the dates. The whole history is shifted by
whole weeks when it is written, so that weekdays stay and it ends at the latest yesterday.
"""

import csv
import hashlib
import io
import json
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

SLICE = Path(__file__).parent / "data" / "online-retail-week.csv.xz"
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
ZONE = ZoneInfo("Europe/London")
CURRENCY = "GBP"
SHOP = "shop"
WAREHOUSE = "warehouse"
CARRIAGE = frozenset({"POST", "DOT", "C2"})
NO_ITEMS = frozenset({"D", "M", "S", "B", "CRUK", "PADS", "BANK CHARGES", "AMAZONFEE"})
VOUCHER = "GIFT_"

#: WhsCode -> the warehouse's own name for it. What the website dotcomgiftshop sold (carriage DOT) lies apart.
PLACES = {"LON1": "MAIN", "WEB1": "DOTCOM"}
#: A place that the configuration does not map: goods which the text says are with Amazon.
UNMAPPED = "AMAZON"

TAX_CODES = {"GB-20": "O1", "GB-0": "O0"}
CARRIERS = {"royal-mail/tracked-48": 1, "dpd/next-day": 2, "dhl": 3}

_PENNY = Decimal("0.01")
_VAT = {True: ("GB-20", Decimal(20)), False: ("GB-0", Decimal(0))}

# ISO 3166-1 alpha-2 of the data's country names; what is missing here ("Unspecified", say) names no one country.
_COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
}

# The first that is found in an adjustment's text wins; no text is a count, any other text "other".
_REASONS = (
    (
        "damaged",
        re.compile("damag|brea?k|broke|crack|wet|rust|mould|smash|crush|fault|thro?w|unsale|destroy|wax|smudge"),
    ),
    ("lost", re.compile(r"lost|missing|\bmia\b|can't find|not rcvd|mystery")),
    ("found", re.compile("found|put aside")),
    ("count", re.compile(r"check|count|adjust|stock|wrong|marked|^\?+$|^$")),
)


@dataclass(frozen=True, slots=True)
class Row:
    invoice: str
    code: str
    text: str
    quantity: Decimal
    at: datetime  # aware, Europe/London, as in the data
    price: Decimal  # net, GBP
    customer: str  # "" is a guest
    country: str

    @property
    def is_carriage(self) -> bool:
        return self.code.upper() in CARRIAGE

    @property
    def is_item(self) -> bool:
        code = self.code.upper()
        return not (code in CARRIAGE or code in NO_ITEMS or code.startswith(VOUCHER))

    @property
    def item(self) -> str:
        """The ItemCode: one item, however it was spelled."""
        return self.code.upper()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a file, the identity of its event, and when its system knew it, in the time of the data."""

    at: datetime
    identity: str
    line: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Everything the demo puts in, and what the B1 side must have for it.

    Attributes:
        shop: Orders and refunds, by time.
        warehouse: Dispatches and adjustments, by time.
        counts: What was made of the rows: `order_placed`, `order_lines`, `repeats`, `unreadable`, ...
        left_out: Rows (and dispatches) that became nothing, by why.
        items: sku -> ItemCode, only where they differ: the other spelling of the same item.
        master: What the simulated company needs before the first event, by entity set, and the opening
            `stock` of each item and warehouse.
        first, last: The first and last local day of the data, shifted.
    """

    shop: tuple[Entry, ...]
    warehouse: tuple[Entry, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    items: Mapping[str, str]
    master: Mapping[str, object]
    first: date
    last: date

    @property
    def files(self) -> dict[str, tuple[Entry, ...]]:
        """What each of the two connectors finds in its inbox."""
        return {SHOP: self.shop, WAREHOUSE: self.warehouse}

    @property
    def events(self) -> int:
        """Lines of both files, repeats and unreadable ones included."""
        return len(self.shop) + len(self.warehouse)

    def horizon_days(self, now: date) -> int:
        """A dedupe horizon that covers the data up to `now`, with a month for how long the run takes."""
        return max(35, (now - self.first).days + 31)

    def moments(self, steps: int) -> list[datetime]:
        """So many times that cut the feed into parts of about equal numbers of lines; the last is after everything."""
        times = sorted(entry.at for entry in (*self.shop, *self.warehouse))
        cuts = [times[len(times) * step // steps] for step in range(1, steps)]
        return [*cuts, times[-1] + timedelta(seconds=1)]


def read(path: Path = SLICE) -> list[dict[str, str]]:
    """The rows of a `.csv` or `.csv.xz` with the data set's columns.

    Raises:
        ValueError: A column is missing.
    """
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as raw:
        reader = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path.name}: no column {', '.join(missing)}; it needs those of the Online Retail data set"
            )
        return list(reader)


def build(rows: Iterable[Mapping[str, str]], today: date, *, seed: int = 1, mess: bool = True) -> Feed:
    """Make the feed.

    Args:
        rows: As `read` gives them.
        today: The local day of the run; the data end on the same weekday, at the latest yesterday. It moves dates only:
            what happens, and how often, is the same on every day.
        seed: Chooses delays, partial dispatches, carriers and the mess.
        mess: Also write what real systems write: about one line in a hundred again, and in each connector's files one
            line that is cut off in the middle.

    Raises:
        ValueError: There are no rows.
    """
    return _Builder(rows, today, seed).build(mess=mess)


class Writer:
    """Writes connectors' files, a piece at a time.

    `write(upto)` writes what happened before `upto` and is not written yet, at most `lines` lines a file, each as
    `name.part` and then renamed (contract section 3), one connector after the other.
    """

    def __init__(self, entries: Mapping[str, Sequence[Entry]], folder: Path, *, lines: int = 2_000) -> None:
        self._folder = folder
        self._lines = lines
        self._entries = entries
        self._next = dict.fromkeys(entries, 0)
        self._files = 0

    @property
    def left(self) -> int:
        """Lines that are not written yet."""
        return sum(len(entries) - self._next[name] for name, entries in self._entries.items())

    def write(self, upto: datetime | None = None) -> int:
        """Write what happened before `upto` (None: everything that is left); the number of lines written."""
        written = 0
        for name, entries in self._entries.items():
            start = end = self._next[name]
            while end < len(entries) and (upto is None or entries[end].at < upto):
                end += 1
            for at in range(start, end, self._lines):
                self._file(name, entries[at : min(at + self._lines, end)])
            self._next[name] = end
            written += end - start
        return written

    def _file(self, name: str, entries: Sequence[Entry]) -> None:
        self._files += 1
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{self._files:06}.jsonl.part"
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(entry.line + "\n" for entry in entries)
        part.rename(part.with_suffix(""))


def inputs(folder: Path) -> dict[str, list[Path]]:
    """The files a `Writer` has put there, by connector, in order; also those that the connector has moved to `done`."""
    return {
        name: sorted(
            (*(folder / name).glob("*.jsonl"), *(folder / name / "done").glob("*.jsonl")), key=lambda path: path.name
        )
        for name in sorted(each.name for each in folder.iterdir() if each.is_dir())
    }


def configuration(
    feed: Feed,
    *,
    bootstrap_servers: str,
    service_layer_url: str,
    password: str = "env:ACME_B1_PASSWORD",  # noqa: S107 -- a reference, not a password
    inbox: str = "in",
    company_db: str = "SBO_ACME",
    topic_prefix: str = "",
    window_s: int = 2,
    session_limit: int = 2,
    in_flight: int = 8,
    partitions: int = 12,
    metrics_port: int = 0,
    tax_codes: Mapping[str, str] = TAX_CODES,
    carriers: Mapping[str, int] = CARRIERS,
    rooms: str | None = None,
    now: date | None = None,
) -> str:
    """The `streams.toml` that goes with a feed: company `acme`, connectors `shop` and `warehouse` of kind `ims`.

    Args:
        feed: Gives the second spellings of items and the horizon.
        bootstrap_servers: Kafka's.
        service_layer_url: B1's; `http://` on loopback only.
        password: A reference (`env:NAME` or `file:path`) to the B1 user's password.
        inbox: The folder a `Writer` writes into, relative to the file.
        company_db: B1's company database.
        topic_prefix: Put before every topic's name.
        window_s: Length of the stock windows, seconds; short, so that the demo's end does not wait for one.
        session_limit: B1 sessions of the poster.
        in_flight: Requests of the poster at a time.
        partitions: Of the fact topics.
        metrics_port: 0 is any free one.
        tax_codes: The channels' -> B1's.
        carriers: The channels', with or without a service -> B1's ShippingTypes.
        rooms: TOML of other warehouses and connectors than those two.
        now: The local day on which it is used, for the horizon; by default the day of the call.
    """
    items = _table(feed.items)
    taxes, shipping = _table(tax_codes), _table(carriers)
    if rooms is None:
        rooms = _rooms(inbox)
    return f"""\
# Written by the demo, for the data of {feed.first} to {feed.last}.
[kafka]
bootstrap_servers = {_quoted(bootstrap_servers)}
topic_prefix = {_quoted(topic_prefix)}
partitions = {partitions}
replication_factor = 1
company_partitions = 16
local = true
[metrics]
host = "127.0.0.1"
port = {metrics_port}

[companies.acme]
partition = 0
service_layer_url = {_quoted(service_layer_url)}
company_db = {_quoted(company_db)}
username = "streams"
password = {_quoted(password)}
verify_tls = true
timezone = "{ZONE.key}"
currency = "{CURRENCY}"
session_limit = {session_limit}
in_flight = {in_flight}
dedupe_horizon_days = {feed.horizon_days(now or datetime.now(ZONE).date())}
[companies.acme.window]
length_s = {window_s}
[companies.acme.customers]
policy = "account"
card_code = "C-WEB"
[companies.acme.tax]
field = "VatGroup"
[companies.acme.tax.codes]
{taxes}
[companies.acme.freight]
expense_code = 1
[companies.acme.shipping_types]
{shipping}
[companies.acme.items]  # the same item in its other spelling
{items}
[companies.acme.invoices]
on = "dispatch"
[companies.acme.refunds]
without_order = "post"
adjustment_expense_code = 2
{rooms}"""


def _table(rows: Mapping[str, object]) -> str:
    return "\n".join(f"{_quoted(name)} = {json.dumps(value)}" for name, value in sorted(rows.items()))


def warehouse_toml(code: str, owner: str, location: str, sellers: Sequence[str], returns_by: str = "refund") -> str:
    """One warehouse of the company, with the accounts of its movements."""
    return f"""
[companies.acme.warehouses.{code}]
owner = "{owner}"
location = "{location}"
sellable_on = {json.dumps(list(sellers))}
returns_by = "{returns_by}"
gl_account = {{ damaged = "5100", lost = "5100", found = "4900", count = "4900" }}
"""


def _rooms(inbox: str) -> str:
    places = "".join(warehouse_toml(code, WAREHOUSE, location, [SHOP]) for code, location in PLACES.items())
    return f"""{places}
[connectors.{SHOP}]
kind = "ims"
company = "acme"
inbox = {_quoted(f"{inbox}/{SHOP}")}
poll_interval_s = 0.2
orders = {{ warehouse = "LON1" }}
[connectors.{WAREHOUSE}]
kind = "ims"
company = "acme"
inbox = {_quoted(f"{inbox}/{WAREHOUSE}")}
poll_interval_s = 0.2
order_source = "{SHOP}"
"""


def simulator(
    feed: Feed,
    *,
    password: str,
    company_db: str = "SBO_ACME",
    speed: float = 0.2,
    seed: int = 1,
    lost_replies: float = 0.03,
    session_limit: int = 4,
    with_claims: bool = False,
) -> dict[str, object]:
    """The configuration of `python -m lab.simulators sap_b1` that goes with a feed.

    Args:
        feed: Gives the master data.
        password: Of the user `streams`.
        company_db: As in `configuration`.
        speed: Service times; 1 is a real installation, 0.2 a fifth.
        seed: Of the faults.
        lost_replies: The share of writes that are committed and never answered.
        session_limit: Of the user: the poster's, and one more for a command.
        with_claims: Whether the claim table is there already; else `streams doctor --install` makes it.
    """
    return {
        "seed": seed,
        "speed": speed,
        "timezone": ZONE.key,
        "users": {"streams": password},
        "settings": {"session_limit": session_limit},
        "faults": {"rates": {"lost_reply_after_commit": lost_replies}},
        "companies": {company_db: {"with_claims": with_claims, "master_data": feed.master}},
    }


@dataclass(slots=True)
class _Line:
    line_id: str
    row: Row
    net: Decimal
    tax: Decimal
    left: Decimal  # not refunded yet
    tax_left: Decimal
    net_left: Decimal


@dataclass(slots=True)
class _Order:
    id: str
    at: datetime
    warehouse: str
    lines: list[_Line]
    carriage_left: Decimal
    refunded_at: datetime | None = None


@dataclass(slots=True)
class _Refund:
    id: str
    order: _Order | None
    lines: list[dict[str, object]] = field(default_factory=list)
    total: Decimal = Decimal(0)


class _Builder:
    def __init__(self, rows: Iterable[Mapping[str, str]], today: date, seed: int) -> None:
        self._seed = seed
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._rows = _rows(rows)
        if not self._rows:
            raise ValueError("there are no rows to make a feed of")
        first, last = self._rows[0].at.date(), self._rows[-1].at.date()
        self._shift = timedelta(weeks=(today - timedelta(days=1) - last).days // 7)
        self._first, self._last = first + self._shift, last + self._shift
        self._end = datetime.combine(last, time(23, 59), ZONE).astimezone(UTC)
        self._names: dict[str, str] = {}
        self._spellings: dict[str, str] = {}
        self._taken: dict[tuple[str, str], Decimal] = defaultdict(Decimal)  # (item, WhsCode) -> units that leave

    def build(self, *, mess: bool) -> Feed:
        orders: list[_Order] = []
        notes: list[list[Row]] = []
        shop: list[Entry] = []
        warehouse: list[Entry] = []
        by_invoice: dict[str, list[Row]] = defaultdict(list)
        for row in self._rows:
            by_invoice[row.invoice].append(row)
        for invoice, rows in by_invoice.items():
            if invoice.startswith("C"):
                notes.append(rows)
            elif len(invoice) == 6 and invoice.isdigit():
                warehouse.extend(self._adjustments(rows))
                made = self._order(rows)
                if made is not None:
                    orders.append(made[0])
                    shop.append(made[1])
            else:
                self._left_out["rows of other documents"] += len(rows)
        shop.extend(self._refunds(notes, orders))
        for order in orders:
            warehouse.extend(self._dispatches(order))
        if mess:
            shop, warehouse = self._messed(shop, SHOP), self._messed(warehouse, WAREHOUSE)
        self._counts["guest_orders"] = sum(1 for order in orders if not order.lines[0].row.customer)
        return Feed(
            shop=_by_time(shop),
            warehouse=_by_time(warehouse),
            counts=dict(self._counts),
            left_out=dict(+self._left_out),
            items=self._spellings,
            master=self._master(),
            first=self._first,
            last=self._last,
        )

    def _order(self, rows: list[Row]) -> tuple[_Order, Entry] | None:
        priced = [row for row in rows if row.price > 0 and row.quantity > 0]
        self._left_out["priced rows of a negative quantity or price"] += sum(
            1 for row in rows if row.price < 0 or (row.price > 0 and row.quantity < 0)
        )
        for row in priced:
            if not (row.is_item or row.is_carriage):
                self._left_out[f"no item: {_kind(row.code)}"] += 1
        kept = [row for row in priced if row.is_item]
        carriage = [row for row in priced if row.is_carriage]
        if not kept:
            if carriage:
                self._left_out["carriage without goods"] += len(carriage)
            return None
        head = kept[0]
        warehouse = "WEB1" if any(row.code.upper() == "DOT" for row in carriage) else "LON1"
        code, rate = _VAT[head.country == "United Kingdom"]
        lines = []
        for number, row in enumerate(kept, 1):
            net = _pence(row.quantity * row.price)
            tax = _pence(net * rate / 100)
            lines.append(_Line(str(number), row, net, tax, row.quantity, tax, net))
            self._seen(row, row.text)
        shipping = sum((_pence(row.quantity * row.price) for row in carriage), Decimal(0))
        shipping_tax = _pence(shipping * rate / 100)
        tax_total = sum((line.tax for line in lines), shipping_tax)
        total = sum((line.net for line in lines), shipping) + tax_total
        order = _Order(head.invoice, head.at.astimezone(UTC), warehouse, lines, shipping)
        event: dict[str, object] = {
            "type": "order_placed",
            "order_id": order.id,
            "channel": "dotcomgiftshop" if warehouse == "WEB1" else "wholesale",
            "occurred_at": self._written(order.at),
            "currency": CURRENCY,
            "customer": {"id": head.customer, "guest": False} if head.customer else {"guest": True},
            "lines": [
                {
                    "line_id": line.line_id,
                    "sku": line.row.code,
                    "name": line.row.text or None,
                    "quantity": _text(line.row.quantity),
                    "unit_price": _text(line.row.price),
                    "tax_code": code,
                    "tax_rate": _text(rate),
                    "tax_amount": _text(line.tax),
                    # The shop's default is LON1, so only the other one is named.
                    "location": PLACES[warehouse] if warehouse != "LON1" else None,
                }
                for line in lines
            ],
            "tax_total": _text(tax_total),
            "grand_total": _text(total),
            "payment": {"method": "card", "amount": _text(total)},
        }
        if country := _COUNTRIES.get(head.country):
            event["ship_to"] = {"country": country}
        if shipping:
            event["shipping"] = {
                "method": "/".join(sorted({row.code.upper() for row in carriage})),
                "amount": _text(shipping),
                "tax_code": code,
                "tax_amount": _text(shipping_tax),
            }
        self._counts["order_placed"] += 1
        self._counts["order_lines"] += len(lines)
        self._counts["orders_with_carriage"] += bool(shipping)
        return order, Entry(order.at, order.id, _json(event))

    def _adjustments(self, rows: list[Row]) -> Iterator[Entry]:
        given_away = any(row.price > 0 for row in rows)
        web = any(row.code.upper() == "DOT" for row in rows)
        for number, row in enumerate((row for row in rows if row.price == 0), 1):
            if not row.is_item:
                self._left_out[f"no item: {_kind(row.code)}"] += 1
                continue
            if not row.quantity:
                self._left_out["adjustments of nothing"] += 1
                continue
            delta = -row.quantity if given_away else row.quantity
            text = row.text.lower()
            reason = "other" if given_away else next((name for name, words in _REASONS if words.search(text)), "other")
            code = "WEB1" if web or "dotcom" in text else "LON1"
            amazon = "amazon" in text
            if not amazon:
                self._seen(row, "")
                self._taken[row.item, code] += max(-delta, Decimal(0))
            self._counts["stock_adjusted"] += 1
            self._counts["stock_adjusted at an unmapped location"] += amazon
            at = row.at.astimezone(UTC)
            event_id = f"ADJ-{row.invoice}-{number}"
            event = {
                "type": "stock_adjusted",
                "event_id": event_id,
                "occurred_at": self._written(at),
                "sku": row.code,
                "location": UNMAPPED if amazon else PLACES[code],
                "delta": _text(delta),
                "reason": reason,
                "note": row.text or None,
            }
            yield Entry(at, event_id, _json(event))

    def _refunds(self, notes: list[list[Row]], orders: list[_Order]) -> Iterator[Entry]:
        bought: dict[tuple[str, str, Decimal], list[tuple[_Order, _Line]]] = defaultdict(list)
        for order in sorted(orders, key=lambda order: (order.at, order.id)):
            for line in order.lines:
                if line.row.customer:  # a guest's note does not say whose order it was
                    bought[line.row.customer, line.row.item, line.row.price].append((order, line))
        for rows in notes:
            yield from self._note(rows, bought)

    def _note(
        self, rows: list[Row], bought: Mapping[tuple[str, str, Decimal], list[tuple[_Order, _Line]]]
    ) -> Iterator[Entry]:
        head = rows[0]
        at = head.at.astimezone(UTC)
        restock = (
            _share(self._seed, "restock", head.invoice) >= 0.1
        )  # one note in ten: the customer keeps or breaks the goods
        parts: dict[str | None, _Refund] = {}
        carriage = Decimal(0)
        carriage_rows = 0
        _, rate = _VAT[head.country == "United Kingdom"]
        for row in rows:
            if row.is_carriage and row.price > 0:
                carriage += _pence(-row.quantity * row.price)
                carriage_rows += 1
                continue
            if not row.is_item:
                self._left_out[f"no item: {_kind(row.code)}"] += 1
                continue
            if row.quantity >= 0 or row.price <= 0:
                self._left_out["credit note rows that give nothing back"] += 1
                continue
            self._seen(row, row.text)
            wanted = -row.quantity
            key = (row.customer, row.item, row.price)
            for order, line in reversed(bought.get(key, [])):
                taken = min(wanted, line.left)
                if taken and order.at <= at:
                    part = parts.setdefault(order.id, _Refund(head.invoice, order))
                    self._from_order(part, order, line, taken, restock=restock)
                    order.refunded_at = min(order.refunded_at or at, at)
                    wanted -= taken
                if not wanted:
                    break
            if wanted:
                part = parts.setdefault(None, _Refund(head.invoice, None))
                net = _pence(wanted * row.price)
                self._refund_line(part, row, None, wanted, net, _pence(net * rate / 100), restock=restock, place="LON1")
        shipping = self._refunded_carriage(parts, carriage, carriage_rows, rate)
        for number, part in enumerate(parts.values()):
            refund_id = head.invoice if number == 0 else f"{head.invoice}-{number}"
            event: dict[str, object] = {
                "type": "refund_issued",
                "refund_id": refund_id,
                "order_id": part.order.id if part.order else None,
                "occurred_at": self._written(at),
                "currency": CURRENCY,
                "lines": part.lines,
                "reason": "credit note",
            }
            total = part.total
            if shipping is not None and shipping[0] is part:
                _, net, tax = shipping
                event["shipping"] = {"amount": _text(net), "tax_amount": _text(tax)}
                total += net + tax
            event["total"] = _text(total)
            self._counts["refund_issued"] += 1
            self._counts["refund_lines"] += len(part.lines)
            self._counts["refunds of an order"] += part.order is not None
            yield Entry(at, refund_id, _json(event))

    def _refunded_carriage(
        self, parts: Mapping[str | None, _Refund], net: Decimal, rows: int, rate: Decimal
    ) -> tuple[_Refund, Decimal, Decimal] | None:
        if not rows:
            return None
        part = parts.get(None) or next((p for p in parts.values() if p.order and p.order.carriage_left >= net), None)
        if part is None or net <= 0:
            self._left_out["carriage given back without goods"] += rows
            return None
        if part.order:
            part.order.carriage_left -= net
        return part, net, _pence(net * rate / 100)

    def _from_order(self, part: _Refund, order: _Order, line: _Line, quantity: Decimal, *, restock: bool) -> None:
        # The last piece takes what is left, so that the pieces of a line never give back a penny more than it cost.
        if quantity == line.left:
            net, tax = line.net_left, line.tax_left
        else:
            net = _pence(line.net * quantity / line.row.quantity)
            tax = _pence(line.tax * quantity / line.row.quantity)
        line.left -= quantity
        line.net_left -= net
        line.tax_left -= tax
        self._refund_line(part, line.row, line.line_id, quantity, net, tax, restock=restock, place=order.warehouse)

    @staticmethod
    def _refund_line(
        part: _Refund,
        row: Row,
        line_id: str | None,
        quantity: Decimal,
        net: Decimal,
        tax: Decimal,
        *,
        restock: bool,
        place: str,
    ) -> None:
        part.total += net + tax
        part.lines.append(
            {
                "line_id": line_id,
                "sku": row.code,
                "quantity": _text(quantity),
                "amount": _text(net),
                "tax_code": _VAT[row.country == "United Kingdom"][0],
                "tax_amount": _text(tax),
                "restock": restock,
                "location": PLACES[place],
            }
        )

    def _dispatches(self, order: _Order) -> Iterator[Entry]:
        first = order.at + timedelta(minutes=round(60 + 480 * _share(self._seed, "delay", order.id)))
        if order.refunded_at is not None:
            # Goods come back after they went out, so a refunded order goes out in time, and whole.
            first = min(first, order.at + (order.refunded_at - order.at) / 2)
        parts: list[tuple[datetime, list[tuple[_Line, Decimal]]]] = [
            (first, [(line, line.row.quantity) for line in order.lines])
        ]
        units = sum((line.row.quantity for line in order.lines), Decimal(0))
        if order.refunded_at is None and units > 1 and _share(self._seed, "partial", order.id) < 0.15:
            parts = self._split(order, first)
        home = order.lines[0].row.country == "United Kingdom"
        by_line = _share(self._seed, "line ids", order.id) < 0.8  # not every warehouse keeps the shop's line ids
        for number, (at, lines) in enumerate(parts, 1):
            if at > self._end:
                self._left_out["dispatches after the last day"] += 1
                continue
            if not home:
                carrier, service = "DHL", None
            elif _share(self._seed, "carrier", order.id) < 0.5:
                carrier, service = "royal-mail", "tracked-48"
            else:
                carrier, service = "DPD", "next-day"
            shipment_id = f"S{order.id}-{number}"
            for line, quantity in lines:
                self._taken[line.row.item, order.warehouse] += quantity
            self._counts["dispatch_confirmed"] += 1
            self._counts["dispatch_lines"] += len(lines)
            self._counts["partial dispatches"] += len(parts) > 1
            event = {
                "type": "dispatch_confirmed",
                "shipment_id": shipment_id,
                "order_id": order.id,
                "occurred_at": self._written(at),
                "location": PLACES[order.warehouse],
                "carrier": carrier,
                "service": service,
                "tracking_numbers": [f"{carrier[:2].upper()}{order.id}{number:03}GB"],
                "lines": [
                    {
                        "line_id": line.line_id if by_line else None,
                        "sku": line.row.code,
                        "quantity": _text(quantity),
                    }
                    for line, quantity in lines
                ],
            }
            yield Entry(at, shipment_id, _json(event))

    def _split(self, order: _Order, first: datetime) -> list[tuple[datetime, list[tuple[_Line, Decimal]]]]:
        """Two parcels: the first lines, one of them perhaps in part, and the rest a day or so later."""
        later = first + timedelta(minutes=round(720 + 1440 * _share(self._seed, "rest", order.id)))
        cut = max(1, len(order.lines) // 2)
        parcels: tuple[list[tuple[_Line, Decimal]], list[tuple[_Line, Decimal]]] = ([], [])
        for number, line in enumerate(order.lines, 1):
            quantity = line.row.quantity
            if number == cut and quantity > 1:
                half = Decimal(int(quantity) // 2)
                parcels[0].append((line, half))
                parcels[1].append((line, quantity - half))
            else:
                parcels[0 if number <= cut else 1].append((line, quantity))
        return [(at, lines) for at, lines in zip((first, later), parcels, strict=True) if lines]

    def _messed(self, entries: list[Entry], name: str) -> list[Entry]:
        """Some lines again an hour later (a repeat), and before one of them its first half (a line cut off)."""
        if not entries:
            return entries
        again = [entry for entry in entries if _share(self._seed, "again", entry.identity) < 0.01]
        half = min(entries, key=lambda entry: _share(self._seed, f"half {name}", entry.identity))
        self._counts["repeats"] += len(again)
        self._counts["unreadable"] += 1
        return [
            *entries,
            *(replace(entry, at=entry.at + timedelta(hours=1)) for entry in again),
            replace(half, line=half.line[: len(half.line) // 2]),
        ]

    def _written(self, at: datetime) -> str:
        """A time of the data as the run writes it; an hour that a clock change skips becomes the next one."""
        wall = at.astimezone(ZONE).replace(tzinfo=None) + self._shift
        return wall.replace(tzinfo=ZONE).astimezone(UTC).astimezone(ZONE).isoformat()

    def _seen(self, row: Row, name: str) -> None:
        if row.code != row.item:
            self._spellings[row.code] = row.item
        if not self._names.get(row.item):
            self._names[row.item] = name

    def _master(self) -> dict[str, object]:
        """What B1 must have, by the Service Layer's names.

        An item's stock is all that will ever leave, so that it never goes short, whatever comes first.
        """
        return {
            "Items": [{"ItemCode": item, "ItemName": name or item} for item, name in sorted(self._names.items())],
            "Warehouses": [{"WarehouseCode": code, "WarehouseName": name} for code, name in PLACES.items()],
            "VatGroups": [{"Code": "O1", "Rate": "20"}, {"Code": "O0", "Rate": "0"}],
            "BusinessPartners": [
                {"CardCode": "C-WEB", "CardName": "Shop customers", "CardType": "cCustomer", "Currency": CURRENCY}
            ],
            "ShippingTypes": [
                {"Code": 1, "Name": "Royal Mail Tracked 48"},
                {"Code": 2, "Name": "DPD Next Day"},
                {"Code": 3, "Name": "DHL"},
            ],
            "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Carriage"}, {"ExpensCode": 2, "Name": "Goodwill"}],
            "stock": [
                {"item": item, "warehouse": code, "quantity": _text(quantity)}
                for (item, code), quantity in sorted(self._taken.items())
                if quantity
            ],
            "ChartOfAccounts": [{"Code": "4900", "Name": "Stock found"}, {"Code": "5100", "Name": "Stock lost"}],
        }


def _rows(rows: Iterable[Mapping[str, str]]) -> list[Row]:
    """By time; the sort is stable, so the rows of an invoice keep their order."""
    return sorted(
        (
            Row(
                invoice=row["InvoiceNo"],
                code=row["StockCode"].strip(),
                text=row["Description"].strip(),
                quantity=Decimal(row["Quantity"]),
                at=datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=ZONE),
                price=Decimal(row["UnitPrice"]),
                customer=row["CustomerID"],
                country=row["Country"],
            )
            for row in rows
        ),
        key=lambda row: row.at.replace(tzinfo=None),
    )


def _share(seed: int, *parts: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256("/".join((str(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _kind(code: str) -> str:
    return "gift voucher" if code.upper().startswith(VOUCHER) else code.upper()


def _pence(amount: Decimal) -> Decimal:
    return amount.quantize(_PENNY, ROUND_HALF_UP)


def _text(number: Decimal) -> str:
    return format(number, "f")


def _json(event: Mapping[str, object]) -> str:
    kept = {name: value for name, value in event.items() if value is not None}
    if isinstance(lines := kept.get("lines"), list):
        kept["lines"] = [{name: value for name, value in line.items() if value is not None} for line in lines]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    return json.dumps(text)


def _by_time(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.at))
