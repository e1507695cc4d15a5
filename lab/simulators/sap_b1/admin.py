"""The surface below `/_simulator/` for tests, demo and checker: no session, no faults, no delay."""

import gzip
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.simulators.sap_b1.execution import wake_waiting
from lab.simulators.sap_b1.server import ServerState
from lab.simulators.sap_b1.sessions import end_session, expire_sessions, open_sessions_of
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import RefusedError, Request
from lab.simulators.sap_b1.wire.replies import B1Reply, HttpCall, json_reply, read_json


def administer(server: ServerState, call: HttpCall) -> B1Reply:
    """The surface for tests, demo and checker: no session, no faults, no delay."""
    name = call.path.removeprefix("/_simulator/")
    try:
        asked = read_json(call.body) if call.body else {}
        return _administered(server, call, name, asked)
    except RefusedError as error:
        return json_reply(error.status, {"error": error.text})
    except (KeyError, TypeError, ValueError) as error:
        return json_reply(400, {"error": f"{type(error).__name__}: {error}"})


def _company(server: ServerState, asked: Mapping[str, Any], query: Mapping[str, str]) -> Company:
    name = asked.get("company") or query.get("company")
    return server.companies[str(name)] if name else next(iter(server.companies.values()))


def _administered(server: ServerState, call: HttpCall, name: str, asked: Mapping[str, Any]) -> B1Reply:
    company = _company(server, asked, call.query)
    result: Any = {"ok": True}
    match (call.method, name):
        case ("GET", "ledger"):
            reply = json_reply(200, company.ledger(with_documents=call.query.get("documents") != "0"))
            if "gzip" not in call.headers.get("accept-encoding", ""):
                return reply
            packed = gzip.compress(reply.body, compresslevel=1)
            return replace(reply, headers=[*reply.headers, ("Content-Encoding", "gzip")], body=packed)
        case ("GET", "documents"):
            result = company.documents(int(call.query.get("after", 0)), int(call.query.get("limit", 500)))
        case ("GET", "counters"):
            expire_sessions(server)
            result = {
                "companies": {key: dict(one.counters) for key, one in server.companies.items()},
                "sequences": {key: one.sequence for key, one in server.companies.items()},
                "users": {
                    user: {"sessions_open": open_sessions_of(server, user), "sessions_high_water": most}
                    for user, most in server.sessions_high_water.items()
                },
                "faults": dict(server.faults.injected),
                "scripts_left": server.faults.scripts_left,
                "outage": server.faults.outage,
                "late_commits_waiting": len(server.late),
            }
        case ("POST", "faults"):
            server.faults.update(asked)
        case ("POST", "lock" | "unlock"):
            holder = f"people:{asked.get('holder', 'person')}"
            if name == "lock":
                result = {"locked": [item for item in asked["items"] if company.lock(item, holder)]}
            else:
                for item in asked["items"]:
                    company.unlock(item, holder)
                wake_waiting(server)
        case ("POST", "kill-sessions"):
            killed = list(server.sessions.values())
            for session in killed:
                end_session(server, session)
            result = {"killed": len(killed)}
        case ("POST", "outage"):
            mode = asked.get("mode", "html_503")
            if mode not in ("html_503", "drop"):
                raise ValueError(f"unknown outage mode {mode}")
            server.faults.outage = mode if asked["on"] else None
        case ("POST", "master-data"):
            company.load({key: value for key, value in asked.items() if key != "company"})
        case ("POST", "settings"):
            server.settings = server.settings.changed({key: value for key, value in asked.items() if key != "company"})
        case ("POST", "requests"):
            holder = f"people:{asked.get('holder', 'person')}"
            requests = [Request(one["method"], one["path"], one.get("body")) for one in asked["requests"]]
            answers = company.apply(requests, holder)
            result = [{"status": answer.status, "body": answer.body} for answer in answers]
        case ("POST", "pay"):
            company.pay(int(asked["invoice"]))
        case ("POST", "unlock-users"):
            server.wrong_passwords.clear()
        case ("POST", "backup"):
            server.backups[company.name] = company.backup()
        case ("POST", "restore"):
            company.restore(server.backups[company.name])
        case _:
            return json_reply(404, {"error": f"no route {call.method} {name}"})
    return json_reply(200, result)
