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

Everything is computed from the rows and a seed; the day of the run only moves the dates. The whole history is shifted
by whole weeks when it is written, so that weekdays stay and it ends at the latest yesterday.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date

from lab.feed.adjustments import adjustments_of
from lab.feed.company import SHOP, WAREHOUSE
from lab.feed.context import FeedContext, SoldOrder
from lab.feed.disorder import with_disorder
from lab.feed.dispatches import dispatches_of
from lab.feed.feed import Feed, FeedEntry, by_time
from lab.feed.master_data import master_data
from lab.feed.orders import make_order
from lab.feed.refunds import refunds_of
from lab.feed.rows import Row


def build_feed(rows: Iterable[Mapping[str, str]], today: date, *, seed: int = 1, mess: bool = True) -> Feed:
    """Make the feed.

    Args:
        rows: As `read_rows` gives them.
        today: The local day of the run; the data end on the same weekday, at the latest yesterday. It moves dates only:
            what happens, and how often, is the same on every day.
        seed: Chooses delays, partial dispatches, carriers and the mess.
        mess: Also write what real systems write: about one line in a hundred again, and in each connector's files one
            line that is cut off in the middle.

    Raises:
        ValueError: There are no rows.
    """
    context = FeedContext(rows, today, seed)
    orders: list[SoldOrder] = []
    notes: list[list[Row]] = []
    shop: list[FeedEntry] = []
    warehouse: list[FeedEntry] = []
    by_invoice: dict[str, list[Row]] = defaultdict(list)
    for row in context.rows:
        by_invoice[row.invoice].append(row)
    for invoice, of_invoice in by_invoice.items():
        if invoice.startswith("C"):
            notes.append(of_invoice)
        elif len(invoice) == 6 and invoice.isdigit():
            warehouse.extend(adjustments_of(context, of_invoice))
            made = make_order(context, of_invoice)
            if made is not None:
                orders.append(made[0])
                shop.append(made[1])
        else:
            context.left_out["rows of other documents"] += len(of_invoice)
    shop.extend(refunds_of(context, notes, orders))
    for order in orders:
        warehouse.extend(dispatches_of(context, order))
    if mess:
        shop, warehouse = with_disorder(context, shop, SHOP), with_disorder(context, warehouse, WAREHOUSE)
    context.counts["guest_orders"] = sum(1 for order in orders if not order.lines[0].row.customer)
    return Feed(
        shop=by_time(shop),
        warehouse=by_time(warehouse),
        counts=dict(context.counts),
        left_out=dict(+context.left_out),
        items=context.spellings,
        master=master_data(context),
        first=context.first,
        last=context.last,
    )
