"""One trace for each analysis, with a generation for each juror (requirements 7.5). Without Langfuse, none."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import httpx

from ..llm import failure
from ..settings import Settings
from .jury import Comment

TIMEOUT_S = 10
_log = logging.getLogger("scaffold.tracing")


def trace(
    client: httpx.Client, settings: Settings, metadata: Mapping[str, object], comments: Iterable[Comment]
) -> str | None:
    """Send the trace, and return its id, or None without Langfuse. A failure is logged, never raised."""
    if not settings.langfuse_url:
        return None
    number, now = uuid.uuid4().hex, datetime.now(UTC)
    body: dict[str, object] = {
        "id": number,
        "name": "voicejury.analyze_performance",
        "metadata": dict(metadata),
        "tags": ["project:voicejury"],
    }
    events = [_event("trace-create", now, body)]
    for comment in comments:
        slug = comment.persona.lower().replace("'", "-").replace(" ", "-")
        generation: dict[str, object] = {
            "id": uuid.uuid4().hex,
            "traceId": number,
            "name": f"jury-comment-{slug}",
            "model": comment.model,
            "startTime": (now - timedelta(seconds=comment.seconds)).isoformat(),
            "endTime": now.isoformat(),
            "output": comment.text,
            "metadata": {"tier": comment.tier, "failures": list(comment.failures)},
        }
        events.append(_event("generation-create", now, generation))
    try:
        client.post(
            f"{settings.langfuse_url}/api/public/ingestion",
            auth=(settings.langfuse_public_key, settings.langfuse_secret_key),
            json={"batch": events},
            timeout=TIMEOUT_S,
        ).raise_for_status()
    except httpx.HTTPError as error:
        _log.warning("no trace: %s", failure(error))
        return None
    return number


def _event(kind: str, at: datetime, body: dict[str, object]) -> dict[str, object]:
    return {"id": uuid.uuid4().hex, "type": kind, "timestamp": at.isoformat(), "body": body}
