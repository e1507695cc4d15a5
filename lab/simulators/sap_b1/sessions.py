"""Sessions: login, expiry, limits."""

from dataclasses import replace
from datetime import timedelta

from lab.simulators.sap_b1.faults import FaultKind, InjectedFault
from lab.simulators.sap_b1.server import ServerState, Session
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import LedgerAnswer, RefusedError, refusal
from lab.simulators.sap_b1.wire.replies import B1Reply, HttpCall, answer_reply, read_json


async def login(server: ServerState, call: HttpCall, version: str, fault: InjectedFault | None) -> B1Reply:
    collision = answer_reply(refusal(299, "SAML Login Failed", 500), version, call)
    if fault and fault.kind is FaultKind.LOGIN_COLLISION:
        return collision
    if fault and fault.kind is FaultKind.ERROR:  # the landscape directory (SLD) restarts, say: 401, -304 or -8037
        return answer_reply(refusal(fault.code, fault.text, fault.status), version, call)
    if server.logins_under_way and server.random.random() < server.settings.login_overlap_rate:
        return collision
    server.logins_under_way += 1
    try:
        await server.sleep(server.settings.login_s * server.settings.speed)
    finally:
        server.logins_under_way -= 1
    try:
        asked = read_json(call.body)
    except RefusedError as error:
        return answer_reply(error.answer(), version, call)
    company = server.companies.get(str(asked.get("CompanyDB")))
    text = "Fail to NONE-SSO login from SLD."
    if company is None:
        return answer_reply(refusal(-306, text, 401), version, call)
    user = str(asked.get("UserName"))
    wrong = server.wrong_passwords.get(user, 0)
    if wrong >= server.settings.password_tries or server.users.get(user) != asked.get("Password"):
        server.wrong_passwords[user] = wrong + 1
        company.counters["login_failures"] += 1
        return answer_reply(refusal(-304, text, 401), version, call)
    server.wrong_passwords[user] = 0
    expire_sessions(server)
    limit = server.settings.session_limit
    if limit is not None and _open_sessions(server, company) >= limit:
        company.counters["login_failures"] += 1
        status, code, message = server.settings.session_limit_error
        return answer_reply(refusal(code, message, status), version, call)
    session = Session(f"{server.random.getrandbits(128):032x}", company, user, server.clock())
    server.sessions[session.id] = session
    counters = company.counters
    counters["logins"] += 1
    counters["sessions_open"] = _open_sessions(server, company)
    counters["sessions_high_water"] = max(counters["sessions_high_water"], counters["sessions_open"])
    server.sessions_high_water[user] = max(server.sessions_high_water.get(user, 0), open_sessions_of(server, user))
    body = {
        "@odata.context": "$metadata#B1Sessions/@Element",
        "SessionId": session.id,
        "Version": "1000280",
        "SessionTimeout": int(server.settings.session_timeout_min),
    }
    cookies = [("Set-Cookie", f"B1SESSION={session.id}; HttpOnly"), ("Set-Cookie", "ROUTEID=.node1; path=/b1s")]
    reply = answer_reply(LedgerAnswer(200, body), version, call)
    return replace(reply, headers=[*reply.headers, *cookies])


def _open_sessions(server: ServerState, company: Company) -> int:
    return sum(1 for session in server.sessions.values() if session.company is company)


def open_sessions_of(server: ServerState, user: str) -> int:
    return sum(1 for session in server.sessions.values() if session.user == user)


def end_session(server: ServerState, session: Session) -> None:
    server.sessions.pop(session.id, None)
    session.company.counters["sessions_open"] = _open_sessions(server, session.company)


def expire_sessions(server: ServerState) -> None:
    oldest = server.clock() - timedelta(minutes=server.settings.session_timeout_min)
    for session in [one for one in server.sessions.values() if one.used_at <= oldest]:
        end_session(server, session)


def session_of(server: ServerState, call: HttpCall, *, kill: bool) -> Session | None:
    cookies = dict(part.strip().split("=", 1) for part in call.headers.get("cookie", "").split(";") if "=" in part)
    expire_sessions(server)
    session = server.sessions.get(cookies.get("B1SESSION", ""))
    if session is None:
        return None
    if kill:
        end_session(server, session)
        return None
    session.used_at = server.clock()
    return session
