"""From events, as SDKs send them, to rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

OBSERVATIONS = {"span": "SPAN", "generation": "GENERATION", "event": "EVENT", "observation": "SPAN"}
KINDS = {
    "trace-create": "trace",
    "score-create": "score",
    **{f"{kind}-{verb}": "observation" for kind in OBSERVATIONS for verb in ("create", "update")},
}
IGNORED = frozenset({"sdk-log"})
TABLES = {"trace": "traces", "observation": "observations", "score": "scores"}


class EventError(ValueError):
    """One event of a batch is not valid."""


def check(event: object) -> tuple[str, str, str]:
    """Id and kind (`trace`, `observation`, `score`; empty for what is ignored) of an event, and its entity's id.

    :raises EventError: it lacks something
    """
    if not isinstance(event, dict):
        raise EventError("Invalid request data: an event is an object")
    kind, body = event.get("type"), event.get("body")
    if kind in IGNORED:
        return str(event.get("id", "")), "", ""
    if kind not in KINDS:
        raise EventError(f"Invalid request data: unknown type {kind!r}")
    if not event.get("id") or not event.get("timestamp") or not isinstance(body, dict):
        raise EventError("Invalid request data: id, timestamp and body are required")
    moment(event["timestamp"])
    if KINDS[kind] == "score" and ("name" not in body or "value" not in body):
        raise EventError("Invalid request data: a score has a name and a value")
    if KINDS[kind] == "observation" and not body.get("id") and str(kind).endswith("-update"):
        raise EventError("Invalid request data: an update has an id")
    return str(event["id"]), KINDS[kind], str(body.get("id") or event["id"])


def merged(events: Iterable[Row], entity: str, project: str, existing: Row | None) -> Row:
    """The row of one trace, observation or score after some events.

    :param existing: the row as it is, for updates
    """
    row: Row = dict(existing or {})
    for event in sorted(events, key=lambda event: str(event["timestamp"])):
        body, happened = event["body"], milliseconds(event["timestamp"])
        kind = KINDS[event["type"]]
        convert = {"trace": _trace, "observation": _observation, "score": _score}[kind]
        changes = {name: value for name, value in convert(event["type"], body).items() if value is not None}
        changes["metadata"] = {**row.get("metadata", {}), **_metadata(body.get("metadata"))}
        row = {**_empty(kind, happened), **row, **changes}
        row |= {"id": entity, "project_id": project, "event_ts": happened, "is_deleted": 0}
        row["environment"] = body.get("environment") or row.get("environment", "default")
        row.pop("updated_at", None)
    return row


def moment(text: object) -> datetime:
    """:raises EventError: it is no time of ISO 8601"""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise EventError(f"Invalid request data: {text!r} is not a time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def milliseconds(text: object) -> str:
    """A time as ClickHouse reads and sorts it."""
    return moment(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _empty(kind: str, happened: str) -> Row:
    if kind == "observation":
        return {"trace_id": "", "type": "SPAN", "start_time": happened, "name": "", "level": "DEFAULT"}
    if kind == "score":
        return {"timestamp": happened, "source": "API", "data_type": "NUMERIC"}
    return {"timestamp": happened, "name": "", "tags": [], "public": False, "bookmarked": False}


def _trace(_: str, body: Mapping[str, Any]) -> Row:
    return {
        "timestamp": _time(body.get("timestamp")),
        "name": body.get("name"),
        "user_id": body.get("userId"),
        "session_id": body.get("sessionId"),
        "release": body.get("release"),
        "version": body.get("version"),
        "public": body.get("public"),
        "tags": body.get("tags"),
        "input": _text(body.get("input")),
        "output": _text(body.get("output")),
    }


def _observation(event: str, body: Mapping[str, Any]) -> Row:
    kind = OBSERVATIONS[event.partition("-")[0]]
    usage, costs = _usage(body)
    return {
        "type": str(body.get("type", kind)).upper() if kind == "SPAN" else kind,
        "trace_id": body.get("traceId"),
        "parent_observation_id": body.get("parentObservationId"),
        "start_time": _time(body.get("startTime")),
        "end_time": _time(body.get("endTime")),
        "completion_start_time": _time(body.get("completionStartTime")),
        "name": body.get("name"),
        "level": body.get("level"),
        "status_message": body.get("statusMessage"),
        "version": body.get("version"),
        "input": _text(body.get("input")),
        "output": _text(body.get("output")),
        "provided_model_name": body.get("model"),
        "model_parameters": _text(body.get("modelParameters")),
        "usage_details": usage or None,
        "cost_details": costs or None,
        "total_cost": costs.get("total"),
    }


def _score(_: str, body: Mapping[str, Any]) -> Row:
    value = body["value"]
    number = isinstance(value, int | float)
    return {
        "trace_id": body.get("traceId"),
        "session_id": body.get("sessionId"),
        "observation_id": body.get("observationId"),
        "name": body["name"],
        "value": float(value) if number else 0.0,
        "string_value": None if number else str(value),
        "data_type": body.get("dataType") or ("NUMERIC" if number else "CATEGORICAL"),
        "comment": body.get("comment"),
    }


def _usage(body: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, float]]:
    """Tokens and costs, from today's fields or the older `usage`."""
    usage = body.get("usage") or {}
    named = {
        "input": usage.get("input", usage.get("promptTokens")),
        "output": usage.get("output", usage.get("completionTokens")),
        "total": usage.get("total", usage.get("totalTokens")),
    }
    tokens = body.get("usageDetails") or {name: count for name, count in named.items() if count is not None}
    costs = body.get("costDetails") or {
        name: usage[f"{name}Cost"] for name in named if usage.get(f"{name}Cost") is not None
    }
    if tokens and "total" not in tokens:
        tokens = {**tokens, "total": sum(int(count) for count in tokens.values())}
    if costs and "total" not in costs:
        costs = {**costs, "total": sum(float(cost) for cost in costs.values())}
    return (
        {str(name): int(count) for name, count in tokens.items() if isinstance(count, int | float)},
        {str(name): float(cost) for name, cost in costs.items() if isinstance(cost, int | float)},
    )


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {"metadata": _text(value) or ""}
    return {str(name): _text(content) or "" for name, content in value.items()}


def _time(text: object) -> str | None:
    return None if text is None else milliseconds(text)


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
