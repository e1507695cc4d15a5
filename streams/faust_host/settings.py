"""Faust's settings for a `streams.faust_host.app.App`; each was measured, or has its reason beside it."""

from typing import Any

SETTINGS: dict[str, Any] = {
    # Our own drain is bounded; Faust's has no limit.
    "stream_wait_empty": False,
    # An agent that is restarted after an error leaves its opened batch unfinished, and the watermark waits for ever.
    "agent_supervisor": "mode.supervisors:CrashingSupervisor",
    # Faust's own assignor: topics of equal partition count are co-partitioned. With 0 it is RoundRobin: they are not.
    "table_standby_replicas": 1,
    # Topics are made and checked by `streams topics`.
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "stream_publish_on_commit": False,
    "web_enabled": False,
    "broker_commit_interval": 1.0,
    "broker_commit_every": None,
    # Records of one delivery, so that what compression hides cannot flood us; a fetch is limited in bytes below.
    "broker_max_poll_records": 5_000,
    "consumer_max_fetch_size": 262_144,
    # Where reading starts is sought by us. What the log no longer holds must not be skipped without a word.
    "consumer_auto_offset_reset": "none",
    # While intake is paused nothing is fetched: that is no reason to leave the group.
    "broker_max_poll_interval": 86_400.0,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 2.0,
    # Above the drain and a heartbeat, or the group goes on without us.
    "broker_rebalance_timeout": 30.0,
    "producer_request_timeout": 30.0,
    "value_serializer": "raw",
    "key_serializer": "raw",
}

#: How long one fetch waits for a record. Faust fixes 1.5 s at the broker, which the next partition waits for too.
FETCH_WAIT_S = 0.1
#: The same while a batch lies unopened: its partition is not part of the fetch and should not wait for it.
SHORT_FETCH_WAIT_S = 0.05
