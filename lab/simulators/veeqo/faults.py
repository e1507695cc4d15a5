"""What goes wrong at Veeqo, and how it behaves where its documentation is silent."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

FaultKind: TypeAlias = Literal["throttle", "html_500", "html_503", "unauthorized", "drop", "lost", "cut", "not_a_list"]


@dataclass(slots=True)
class VeeqoFault:
    """One thing that goes wrong, for the next `times` requests whose path begins so, after `skip` of them.

    `drop`: nothing is done; `lost`: it is done, and the connection drops before the answer. `method`: only of requests
    with it; "": of all.
    """

    kind: FaultKind
    path: str = "/"
    times: int = 1
    skip: int = 0
    method: str = ""


@dataclass(slots=True)
class Behaviour:
    """How the server behaves where its documentation is silent, or its habits differ.

    Attributes:
        capacity, drain_per_s: The leaky bucket of a key; capacity 0: none.
        tells_totals: Whether lists have the X-Total-* and X-Per-Page headers.
        tells_date: Whether answers have a Date.
        max_page_size: What larger pages are cut to.
        page_cap: Pages beyond it are empty.
        numbers_as_texts: Whether money comes as texts.
        lists_of_one: Whether single objects sometimes come as lists.
        before_filter: Whether created[before] is understood.
    """

    capacity: int = 100
    drain_per_s: float = 5.0
    tells_totals: bool = True
    tells_date: bool = True
    max_page_size: int = 100
    page_cap: int = 100
    numbers_as_texts: bool = False
    lists_of_one: bool = False
    before_filter: bool = True
