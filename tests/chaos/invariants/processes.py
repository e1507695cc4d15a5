"""I8: sessions stay within their limit, and SIGTERM ends a process in order."""

from tests.chaos.invariants.view import View


def check_processes(view: View) -> None:
    for user, sessions in view.evidence.sessions.items():
        if sessions["sessions_high_water"] > view.evidence.session_limit:
            most = sessions["sessions_high_water"]
            view.report("sessions", user, f"at most {view.evidence.session_limit} at a time", most)
    for one in view.evidence.ended:
        if one.code != 0 or one.seconds > 30:
            view.report("stop", f"{one.name} after SIGTERM", "exit 0 within 30 s", f"{one.code} in {one.seconds:.1f} s")
        left = view.evidence.sessions.get(one.user, {}).get("sessions_open", 0)
        if left:
            view.report("sessions", f"{one.name} after SIGTERM", "no open session", left)
