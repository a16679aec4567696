#!/usr/bin/env python3
"""Watch: looks once at what the owner wants to know of before anybody complains, and tells what began and what is over.

Measured (requirements 10.4): how long Ollama takes to answer and how many calls a cloud model answered instead, both
from LiteLLM's spend log, which has every call of every project; the budgets of LiteLLM's teams; Postgres connections;
memory of Redis, and keys of its caches that never expire; queues of Celery; age of the backups; disks; containers that
restart; certificates. What cannot be measured is an incident of its own, and leaves the others as they were.

Not measured, because somebody else does: whether services answer (Uptime Kuma), GPUs and their memory (the GPU
watchdog), the size of a backup (the backup itself, when it is made).

Exit status: 0 done, 1 something is left to tell, 2 wrong configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import configuration
from configuration import Login
from containers import ScriptError, docker, inside, running, the_running
from incidents import ConfigurationError, Incidents, Telegram, log

CONFIG = "/etc/sourcefast/watch.json"
ANSWER_S = 10
# How Celery (kombu) names its keys.
BINDINGS = "_kombu.binding."
SEPARATOR = "\x06\x16"
PRIORITIES = (3, 6, 9)

CONNECTIONS = """\
SELECT json_build_array(count(*), current_setting('max_connections')::int)
FROM pg_stat_activity WHERE backend_type = 'client backend';
"""
# Of each backend: how many calls it answered lately, and the 95th percentile of how long they took, in seconds.
LATENCIES = """\
SELECT json_build_array(port, count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds))
FROM (SELECT substring(api_base FROM ':([0-9]+)') AS port,
             extract(epoch FROM "endTime" - "startTime") AS seconds
      FROM "LiteLLM_SpendLogs" WHERE {counted}) calls
WHERE port IN ({ports}) GROUP BY port;
"""
# Of the calls that could have been answered here: how many, and how many were.
SHARES = """\
SELECT json_build_array(count(*), count(*) FILTER (WHERE substring(api_base FROM ':([0-9]+)') IN ({ports})))
FROM "LiteLLM_SpendLogs" WHERE {counted} AND NOT coalesce(model_group, '') = ANY (ARRAY[{direct}]::text[]);
"""
# Answers from the cache say nothing of a backend, and neither do calls that reached none.
COUNTED = """\
"endTime" > now() AT TIME ZONE 'UTC' - interval '{minutes} min' AND coalesce(api_base, '') <> ''
AND coalesce(cache_hit, '') <> 'True'"""
# Of each team with a budget: what it has spent in the running period.
BUDGETS = """\
SELECT json_build_array(coalesce(team_alias, team_id), spend, max_budget)
FROM "LiteLLM_TeamTable" WHERE max_budget IS NOT NULL;
"""


@dataclass(frozen=True)
class Config:
    """What is watched; the declarations say what each limit means (`Thresholds`, `Watch`)."""

    state: Path
    telegram: Telegram
    limits: Mapping[str, int]
    window_min: int
    min_calls: int
    unmeasured_runs: int
    restart_quiet_min: int
    disks: tuple[str, ...]
    postgres: tuple[str, ...]
    redis: tuple[str, ...]
    litellm: Mapping[str, Any] | None
    celery: tuple[Mapping[str, Any], ...]
    caches: tuple[Mapping[str, Any], ...]
    backups: Mapping[str, Any]
    certificates: Mapping[str, Any]
    logins: Mapping[str, Login]


@dataclass
class Look:
    """What one look finds: texts of incidents by key, and keys that it could not look at."""

    wrong: dict[str, str]
    unseen: list[str]

    def over(self, key: str, found: float, limit: float, text: str) -> None:
        """An incident where something is above its limit."""
        if found > limit:
            self.wrong[key] = text


def read_config(path: Path) -> Config:
    """:raises ConfigurationError: with the file's name"""
    said, logins = configuration.read(path)
    try:
        return Config(
            state=Path(said["state"]),
            telegram=Telegram.of(said["alert"], Path(said["state"]).parent),
            limits={name: int(limit) for name, limit in said["limits"].items()},
            window_min=int(said["window_min"]),
            min_calls=int(said["min_calls"]),
            unmeasured_runs=int(said["unmeasured_runs"]),
            restart_quiet_min=int(said["restart_quiet_min"]),
            disks=tuple(said["disks"]),
            postgres=tuple(said["postgres"]),
            redis=tuple(said["redis"]),
            litellm=said["litellm"],
            celery=tuple(said["celery"]),
            caches=tuple(said["caches"]),
            backups=said["backups"],
            certificates=said["certificates"],
            logins=logins,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error


# --- asking


def ask_postgres(config: Config, container: str, database: str, sql: str) -> list[Any]:
    """Rows of a query's answer, each one JSON value. Inside, on its own socket: no password is involved."""
    the_running(container)
    login = config.logins.get(container, Login("postgres", ""))
    psql = ["psql", "-XqAt", "--set=ON_ERROR_STOP=1", f"--username={login.user}", f"--dbname={database}"]
    # Whatever is asked, it changes nothing, and nobody waits for it.
    # Nor does a database's own search_path hold, with functions of its owner's.
    options = "-c default_transaction_read_only=on -c statement_timeout=20s"
    settings = {"PGOPTIONS": f"{options} -c search_path=pg_catalog,public -c role=none"}
    said = docker(
        *inside(container, *psql, user="postgres", secrets=settings), data=sql.encode(), secrets=settings
    )
    return [json.loads(line) for line in said.splitlines() if line]


def ask_redis(config: Config, container: str, *commands: str, index: int = 0) -> list[str]:
    """Lines of the answers to some commands, in a database."""
    the_running(container)
    login = config.logins.get(container)
    secrets = {"REDISCLI_AUTH": login.password} if login else {}
    user = ["--user", login.user] if login and login.user else []
    cli = ["redis-cli", "--no-auth-warning", *user, "-n", str(index)]
    data = "".join(f"{command}\n" for command in commands).encode()
    said = docker(*inside(container, *cli, secrets=secrets), data=data, secrets=secrets)
    lines = said.splitlines()
    for line in lines:
        if re.match(r"(ERR|NOAUTH|NOPERM|WRONGPASS|LOADING|AUTH failed)\b", line):
            raise ScriptError(f"Redis said: {line}")
    return lines


def word(text: str) -> str:
    """A text as redis-cli reads it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


# --- measuring


def disks(config: Config, look: Look) -> None:
    """As `df` does: of what others than root may use. Folders on one disk are one disk."""
    seen: set[int] = set()
    for path in config.disks:
        try:
            found, device = os.statvfs(path), Path(path).stat().st_dev
        except OSError as error:
            raise ScriptError(f"{path}: {error.strerror}") from None
        if device in seen:
            continue
        seen.add(device)
        used = found.f_blocks - found.f_bfree
        percent = 100 * used / (used + found.f_bavail)
        free = found.f_bavail * found.f_frsize / 2**30
        look.over(
            f"disk {path}",
            percent,
            config.limits["disk_percent"],
            f"disk of {path} is {percent:.0f} % full, {free:.1f} GiB are free",
        )


def connections(config: Config, look: Look) -> None:
    for container in config.postgres:
        ((used, most),) = ask_postgres(config, container, "postgres", CONNECTIONS)
        percent = 100 * used / most
        look.over(
            f"connections {container}",
            percent,
            config.limits["postgres_connections_percent"],
            f"{container} has {used} of {most} connections in use ({percent:.0f} %)",
        )


def memory(config: Config, look: Look) -> None:
    for container in config.redis:
        facts = dict(
            line.split(":", 1) for line in ask_redis(config, container, "INFO memory") if ":" in line
        )
        used, most = int(facts["used_memory"]), int(facts["maxmemory"])
        percent = 100 * used / most if most else 0
        look.over(
            f"memory {container}",
            percent,
            config.limits["redis_memory_percent"],
            f"{container} uses {used >> 20} of {most >> 20} MiB ({percent:.0f} % of maxmemory)",
        )


def caches(config: Config, look: Look) -> None:
    """Keys that never expire, in databases where every key should (requirements 6.3)."""
    for cache in config.caches:
        lines = ask_redis(config, cache["container"], "INFO keyspace")
        found = re.search(rf"^db{cache['index']}:keys=(\d+),expires=(\d+)", "\n".join(lines), re.MULTILINE)
        forever = int(found[1]) - int(found[2]) if found else 0
        look.over(
            f"cache {cache['container']}/{cache['index']}",
            forever,
            cache["allowed"],
            f"{forever} keys in database {cache['index']} of {cache['container']} never expire, and it is a cache",
        )


def queues(config: Config, look: Look) -> None:
    """Of each broker: the queues that its workers and senders have declared."""
    for broker in config.celery:
        container, index = broker["container"], int(broker["index"])
        for name in sorted(declared_queues(config, container, index)):
            length = queue_length(config, container, index, name)
            look.over(
                f"queue {container}/{index}/{name}",
                length,
                config.limits["celery_queue"],
                f"{length} tasks wait in Celery's queue {name} (database {index} of {container})",
            )


def declared_queues(config: Config, container: str, index: int) -> set[str]:
    """Celery keeps a set for each exchange; a queue is the last of the three parts of each member."""
    keys: list[str] = []
    cursor = "0"
    while True:
        cursor, *found = ask_redis(
            config, container, f"SCAN {cursor} MATCH {BINDINGS}* COUNT 1000", index=index
        )
        keys += [key for key in found if key]
        if cursor == "0":
            break
    # Those of the workers' remote control and events are not queues of tasks.
    keys = [key for key in keys if not key.endswith((".pidbox", "celeryev"))]
    if not keys:
        return set()
    members = ask_redis(config, container, *(f"SMEMBERS {word(key)}" for key in keys), index=index)
    return {member.rpartition(SEPARATOR)[2] for member in members if member}


def queue_length(config: Config, container: str, index: int, name: str) -> int:
    """With those of its priorities, which are lists of their own."""
    lists = [name, *(f"{name}{SEPARATOR}{priority}" for priority in PRIORITIES)]
    asked = (f"LLEN {word(key)}" for key in lists)
    return sum(int(line) for line in ask_redis(config, container, *asked, index=index))


def calls(config: Config, look: Look) -> None:
    """How long Ollama took, and how much of what it could have answered a cloud model answered."""
    litellm = config.litellm
    if litellm is None:
        return
    where = litellm["container"], litellm["database"]
    counted = COUNTED.format(minutes=config.window_min)
    ports = ", ".join(quoted(port) for port in litellm["ollama"])
    direct = ", ".join(quoted(group) for group in litellm["direct"])
    took = {
        port: (count, float(seconds))
        for port, count, seconds in ask_postgres(
            config, *where, LATENCIES.format(counted=counted, ports=ports)
        )
    }
    limit = config.limits["ollama_latency_p95_s"]
    for port, instance in litellm["ollama"].items():
        count, seconds = took.get(port, (0, 0.0))
        if count < config.min_calls:
            look.unseen.append(f"latency {instance}")
            continue
        text = f"Ollama {instance} took {seconds:.0f} s for 95 % of {count} calls (limit {limit} s)"
        look.over(f"latency {instance}", seconds, limit, text)
    ((total, here),) = ask_postgres(
        config, *where, SHARES.format(counted=counted, ports=ports, direct=direct)
    )
    if total < config.min_calls:
        look.unseen.append("fallback rate")
        return
    percent = 100 * (total - here) / total
    text = f"{percent:.0f} % of {total} calls were answered by a cloud model in Ollama's place"
    look.over("fallback rate", percent, config.limits["fallback_percent"], text)


def budgets(config: Config, look: Look) -> None:
    """LiteLLM refuses a team's calls once its budget is spent."""
    if config.litellm is None:
        return
    for team, spent, budget in ask_postgres(
        config, config.litellm["container"], config.litellm["database"], BUDGETS
    ):
        if spent >= budget:
            look.wrong[f"budget {team}"] = f"team {team} has spent ${spent:.2f} of its ${budget:.2f}"


def backups(config: Config, look: Look) -> None:
    """Age of the newest good backup of everything that must have one. How it turned out, it says itself."""
    limit = config.limits["backup_age_h"]
    for piece in config.backups["pieces"]:
        newest = 0.0
        for manifest in Path(config.backups["root"], piece).glob("[!.]*/manifest.json"):
            try:
                said = json.loads(manifest.read_text())
                if not said["doubt"]:
                    newest = max(newest, said["time"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                log(f"no good backup: {manifest}: {error!r}")
        hours = (time.time() - newest) / 3600
        text = f"the last good backup is {hours:.0f} h old" if newest else "there is no good backup"
        look.over(f"backup {piece}", hours, limit, f"{piece}: {text}")


def restarts(config: Config, look: Look, notes: dict[str, Any], now: float) -> None:
    """Containers that Docker had to start again since the last look, until they have been quiet for a while."""
    before: dict[str, int] = notes.get("restarts", {})
    last: dict[str, float] = notes.get("restarted", {})
    counts = {}
    for container in running():
        name, count = container["Name"].removeprefix("/"), int(container["RestartCount"])
        counts[container["Id"]] = count
        if count > before.get(container["Id"], count) or container["State"]["Status"] == "restarting":
            last[name] = now
    for name, when in list(last.items()):
        if now - when >= config.restart_quiet_min * 60:
            del last[name]
        else:
            look.wrong[f"restarts {name}"] = (
                f"container {name} was restarted by Docker: see docker logs {name}"
            )
    notes["restarts"], notes["restarted"] = counts, last


def certificates(config: Config, look: Look) -> None:
    """What the proxy shows the world. One that the world would not trust is as bad as one that has expired."""
    limit = config.limits["certificate_days"]
    for domain in config.certificates["domains"]:
        context = ssl.create_default_context()
        where = (config.certificates["address"], int(config.certificates["port"]))
        try:
            with (
                socket.create_connection(where, timeout=ANSWER_S) as connection,
                context.wrap_socket(connection, server_hostname=domain) as tls,
            ):
                shown = tls.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            look.wrong[f"certificate {domain}"] = f"certificate of {domain}: {error.verify_message}"
            continue
        except OSError as error:
            raise ScriptError(f"{domain} at {where[0]}: {error}") from None
        days = (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / 86400
        if days < limit:
            text = f"certificate of {domain} expires in {days:.0f} days: it is not being renewed"
            look.wrong[f"certificate {domain}"] = text


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


# --- the whole

# What each measures, how an unmeasured one is called, and the words that its incidents begin with.
MEASURES: tuple[tuple[Callable[[Config, Look], None], str, tuple[str, ...]], ...] = (
    (disks, "disks", ("disk",)),
    (connections, "connections of Postgres", ("connections",)),
    (memory, "memory of Redis", ("memory",)),
    (caches, "keys of caches", ("cache",)),
    (queues, "queues of Celery", ("queue",)),
    (calls, "calls of LiteLLM", ("latency", "fallback")),
    (budgets, "budgets of LiteLLM", ("budget",)),
    (backups, "backups", ("backup",)),
    (certificates, "certificates", ("certificate",)),
)


def look_at_all(config: Config, incidents: Incidents, now: float) -> Look:
    """Everything that is wrong; updates what the notes count."""
    whole = Look({}, [])
    failed: dict[str, int] = incidents.notes.setdefault("failed", {})
    silent: dict[str, list[str]] = {}
    measures = (
        *MEASURES,
        (lambda config, look: restarts(config, look, incidents.notes, now), "containers", ("restarts",)),
    )
    for measure, name, words in measures:
        look = Look({}, [])
        try:
            measure(config, look)
        except (ScriptError, OSError, ValueError, KeyError, TypeError) as error:
            # A server that is just being restarted is no news; one that stays silent is.
            failed[name] = failed.get(name, 0) + 1
            log(f"not measured: {name}: {error!r}")
            if failed[name] >= config.unmeasured_runs:
                silent.setdefault(str(error), []).append(name)
            whole.unseen += [key for key in incidents.open if key.split(" ")[0] in words]
            continue
        failed.pop(name, None)
        whole.wrong |= look.wrong
        whole.unseen += look.unseen
    # What has one reason is one incident.
    for reason, names in silent.items():
        whole.wrong[f"unmeasured {reason}"] = f"cannot measure {', '.join(names)}: {reason}"
    return whole


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Look once at everything that has a limit.")
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=f"settings (default: {CONFIG})")
    parser.add_argument("--test-message", action="store_true", help="only say that messages arrive")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        config = read_config(options.config)
    except ConfigurationError as error:
        log(f"wrong configuration: {error}")
        return 2
    if options.test_message:
        config.telegram.post("🔵", "messages of this host arrive here")
        config.telegram.send()  # what does not get through waits, like any other
        return 0
    incidents = Incidents.read(config.state, config.telegram)
    look = look_at_all(config, incidents, time.time())
    incidents.update(look.wrong, look.unseen)
    told = incidents.close()
    return 0 if told else 1


if __name__ == "__main__":
    sys.exit(main())
