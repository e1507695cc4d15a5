"""What the server knows between two requests."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company


@dataclass(slots=True)
class Session:
    """A logged-in session."""

    id: str
    company: Company
    user: str
    used_at: datetime
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class ServerState:
    """The server's parts and what it remembers; the modules of this folder are functions over it.

    Attributes:
        companies: By CompanyDB.
        users: User name -> password.
        faults: What goes wrong; may be changed while it runs.
        clock: Aware time, for sessions and lock waits.
        sleep: Takes the service times and delays, in seconds.
        random: Everything random comes from it.
        settings: Times and limits; may be replaced while it runs.
        sessions: By session id.
        sessions_high_water: User name -> the most sessions at a time.
        wrong_passwords: User name -> failed logins in a row.
        logins_under_way: How many are in service now.
        released: Set when a lock is given back; then another event takes its place.
        holders: Numbers for the names of lock holders.
        late: Commits that happen after their connection was dropped.
        backups: Images of companies by CompanyDB.
    """

    companies: Mapping[str, Company]
    users: Mapping[str, str]
    faults: FaultPlan
    clock: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    random: Random
    settings: ServiceLayerSettings
    sessions: dict[str, Session] = field(default_factory=dict)
    sessions_high_water: dict[str, int] = field(default_factory=dict)
    wrong_passwords: dict[str, int] = field(default_factory=dict)
    logins_under_way: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    holders: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    late: set[asyncio.Task[None]] = field(default_factory=set)
    backups: dict[str, Mapping[str, Any]] = field(default_factory=dict)
