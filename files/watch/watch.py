#!/usr/bin/env python3
"""Watch: measures once everything that has a limit, and notifies the owner of incidents that began or ended.

The checks are in watch_host.py, watch_containers.py and watch_checks.py (requirements 10.4). If one fails, that is an
incident, and its other incidents stay as they are.

Other programs measure the rest: Uptime Kuma whether services answer, the GPU watchdog the GPUs and their memory, the
backup its own size.

Exit status: 0 done, 1 a message could not be sent yet, 2 wrong configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from containers import ScriptError
from incidents import ConfigurationError, Incidents, log
from watch_checks import (
    backups,
    budgets,
    caches,
    certificates,
    connections,
    fallbacks,
    latencies,
    memory,
    queues,
)
from watch_containers import containers, restarts
from watch_host import boot, clock, disks, host_memory, packages
from watch_model import Check, Config, Findings

CONFIG = "/etc/sourcefast/watch.json"
CHECKS = (
    Check("disks", "disk", disks),
    Check("memory of the host", "host", host_memory),
    Check("clock", "clock", clock),
    Check("packages", "packages", packages),
    Check("next boot", "boot", boot),
    Check("containers", "container", containers),
    Check("restarts of containers", "restarts", restarts),
    Check("connections of Postgres", "connections", connections),
    Check("memory of Redis", "memory", memory),
    Check("keys of caches", "cache", caches),
    Check("queues of Celery", "queue", queues),
    Check("latency of Ollama", "latency", latencies),
    Check("fallbacks of LiteLLM", "fallback", fallbacks),
    Check("budgets of LiteLLM", "budget", budgets),
    Check("backups", "backup", backups),
    Check("certificates", "certificate", certificates),
)


def check_run(config: Config, incidents: Incidents) -> None:
    """Run every check once, and begin and end incidents by what they find."""
    current: dict[str, str] = {}
    unknown: list[str] = []
    failed_before: dict[str, int] = incidents.notes.get("failed", {})
    failed: dict[str, int] = {}
    names_by_reason: dict[str, list[str]] = {}
    since: dict[str, float] = {}
    for check in CHECKS:
        findings = Findings(check.prefix, incidents.notes)
        try:
            check.run(config, findings)
        except (ScriptError, OSError, ValueError, KeyError, TypeError) as error:
            log(f"not measured: {check.name}: {error!r}")
            failed[check.name] = failed_before.get(check.name, 0) + 1
            unknown += [key for key in incidents.open if check.owns(key)]
            since |= {key: at for key, at in incidents.notes.get("since", {}).items() if check.owns(key)}
            # A server that is just being restarted is no news; one that stays silent is.
            if failed[check.name] < config.limits.unmeasured_runs:
                unknown.append(f"unmeasured {error}")
            else:
                names_by_reason.setdefault(str(error), []).append(check.name)
            continue
        current |= findings.incidents
        unknown += findings.unknown
        since |= findings.since
    # Checks that fail for the same reason are one incident.
    for reason, names in names_by_reason.items():
        current[f"unmeasured {reason}"] = f"cannot measure {', '.join(names)}: {reason}"
    incidents.notes |= {"failed": failed, "since": since}
    incidents.update(current, unknown)


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure once everything that has a limit.")
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=f"settings (default: {CONFIG})")
    parser.add_argument("--test-message", action="store_true", help="only send a test message")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        config = Config.read(options.config)
    except ConfigurationError as error:
        log(f"wrong configuration: {error}")
        return 2
    if options.test_message:
        config.telegram.post("🔵", "messages of this host arrive here")
        config.telegram.send()  # a message that does not get through waits for the next run, like any other
        return 0
    incidents = Incidents.read(config.state, config.telegram)
    check_run(config, incidents)
    return 0 if incidents.close() else 1


if __name__ == "__main__":
    sys.exit(main())
