"""The checks of the watch about containers: whether each exists, runs and is healthy; one that hangs is restarted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from typing import Any

from containers import ScriptError, docker, inspect, running
from incidents import log
from watch_model import Config, Findings

LAST_LINES = 3
LOGS_S = 20
MAX_WORDS = 300  # characters of an output that a message quotes
NAMES = "{{.Names}}"
# Each restart waits twice as long as the one before; a container that has been well for hours begins anew.
RESTARTS = 3
CALM_S = 6 * 3600.0


def containers(config: Config, findings: Findings) -> None:
    """Declared containers that are missing, stopped, paused or unwell for some time.

    Uptime Kuma reports those that it watches, unless only their health check finds what is wrong.
    """
    names = {one["name"] for one in config.containers} & set(docker("ps", "--all", "--format", NAMES).split())
    states = {one["Name"].removeprefix("/"): one["State"] for one in inspect(*sorted(names))}
    restarted: dict[str, list[float]] = findings.notes.get("restarted_unhealthy", {})
    for declared in config.containers:
        name = declared["name"]
        state = states.get(name, {"Status": "missing"})
        status, health = state["Status"], (state.get("Health") or {}).get("Status")
        if status == "restarting" or health == "starting" or (status != "running" and declared["monitored"]):
            findings.report_unknown(name)  # on its way, or another's to report
        elif status != "running":
            if findings.lasts(name, config.limits.pending_min):
                findings.report(name, f"container {name} is {status}{exit_reason(name, state)}")
        elif health == "unhealthy":
            if findings.lasts(name, config.limits.pending_min):
                action = "" if declared["stateful"] else restart(config, name, restarted.setdefault(name, []))
                findings.report(name, f"container {name} is unhealthy: {health_output(state)}{action}")
            else:  # again, maybe, after a restart
                findings.report_unknown(name)
        elif restarted.get(name) and time.time() - restarted[name][-1] > CALM_S:
            del restarted[name]
    findings.notes["restarted_unhealthy"] = restarted


def health_output(state: Mapping[str, Any]) -> str:
    """The end of the last health check's output."""
    checks = state["Health"].get("Log") or [{}]
    return " ".join(str(checks[-1].get("Output", "")).split())[-MAX_WORDS:] or "no output"


def exit_reason(name: str, state: Mapping[str, Any]) -> str:
    """Exit code and last output of a container; nothing for one that has not ended."""
    if state["Status"] != "exited":
        return ""
    command = ["docker", "logs", "--tail", str(LAST_LINES), name]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LOGS_S,
        )
    except subprocess.TimeoutExpired:
        raise ScriptError(f"docker logs gave no answer within {LOGS_S} s") from None
    reason = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
    return f" ({reason}): {' '.join(done.stdout.split())[-MAX_WORDS:] or 'no output'}"


def restart(config: Config, name: str, times: list[float]) -> str:
    """Restart a container that hangs, unless that was done lately or often enough; what was done, in words.

    :param times: when it was done before, in seconds since the epoch; this one is added
    """
    pause_s = config.limits.pending_min * 60 * 2 ** len(times)
    if len(times) >= RESTARTS or (times and time.time() - times[-1] < pause_s):
        return f"; restarted {len(times)} times already"
    times.append(time.time())
    try:
        docker("restart", name)
    except ScriptError as error:
        return f"; restart failed: {error}"
    log(f"{name}: unhealthy, restarted")
    return "; restarted"


def restarts(config: Config, findings: Findings) -> None:
    """Containers that Docker has restarted since the last run, until they have been quiet for a while."""
    now = time.time()
    counts_before: dict[str, int] = findings.notes.get("restarts", {})
    counts: dict[str, int] = {}
    last: dict[str, float] = findings.notes.get("restarted", {})
    for container in running():
        name, count = container["Name"].removeprefix("/"), int(container["RestartCount"])
        counts[container["Id"]] = count
        restarted_since = count > counts_before.get(container["Id"], count)
        if restarted_since or container["State"]["Status"] == "restarting":
            last[name] = now
    for name, when in list(last.items()):
        if now - when >= config.limits.restart_quiet_min * 60:
            del last[name]
        else:
            findings.report(name, f"container {name} was restarted by Docker: see docker logs {name}")
    findings.notes |= {"restarts": counts, "restarted": last}
