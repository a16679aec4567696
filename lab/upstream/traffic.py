"""What the simulated internet received, and how a test makes it misbehave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.authority import write_private
from lab.paths import Lab
from lab.upstream.names import SITES, Serves


def requests(lab: Lab, host: str | None = None) -> list[dict[str, Any]]:
    """Requests received since the upstream started, the oldest first.

    :param host: only those for this name
    :return: `time`, `client`, `host`, `method`, `path`, `status`, `bytes`, `agent`, and `model` where an API was asked
    """
    received = _lines(lab.state / "upstream" / "requests.jsonl")
    return [request for request in received if host in (None, request["host"])]


def telegrams(lab: Lab) -> list[dict[str, Any]]:
    """Messages that the simulated Telegram accepted, the oldest first: `date`, `chat_id`, `text`, `parse_mode`."""
    return _lines(lab.state / "upstream" / "telegram.jsonl")


def disturb(
    lab: Lab, host: str, *, status: int = 0, delay: float = 0, missing_models: tuple[str, ...] = ()
) -> None:
    """Make one host misbehave until `recover`.

    :param host: a name of `names.SITES`
    :param status: HTTP status of every answer; 0 answers. What is no API can only fail with 503
    :param delay: seconds before an API answers
    :param missing_models: models an API does not have any more
    :raises ValueError: the host cannot do this
    """
    site = next((site for site in SITES if site.name == host), None)
    if site is None:
        raise ValueError(f"{host} is no simulated host")
    if site.serves is not Serves.API:
        if status != 503 or delay or missing_models:
            raise ValueError(f"{host} is no API: it can only fail, with status=503")
        (_down(lab) / host).touch()
        return
    control = lab.state / "upstream" / "control.json"
    faults = json.loads(control.read_text()) if control.is_file() else {}
    faults[host] = {"status": status, "delay": delay, "missing_models": missing_models}
    write_private(control, json.dumps(faults, indent=2).encode())


def recover(lab: Lab) -> None:
    """End what `disturb` began, for all hosts."""
    (lab.state / "upstream" / "control.json").unlink(missing_ok=True)
    for flag in _down(lab).iterdir():
        flag.unlink()


def _down(lab: Lab) -> Path:
    folder = lab.state / "upstream" / "down"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    # The last line may still be being written.
    complete = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]
