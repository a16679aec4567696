"""The checks of the watch about the services (requirements 10.4).

LiteLLM's spend log has every call of every project: how long Ollama took, and which calls a cloud model answered.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

from configuration import Login
from containers import ScriptError, docker, inside, require_running
from incidents import log
from watch_model import Config, Findings

CONNECT_TIMEOUT_S = 10
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
# Of the calls that an Ollama here could have answered: how many, and how many it did answer.
SHARES = """\
SELECT json_build_array(count(*), count(*) FILTER (WHERE substring(api_base FROM ':([0-9]+)') IN ({ports})))
FROM "LiteLLM_SpendLogs" WHERE {counted} AND NOT coalesce(model_group, '') = ANY (ARRAY[{direct}]::text[]);
"""
# An answer from the cache says nothing about a backend, and neither does a call that reached none.
COUNTED = """\
"endTime" > now() AT TIME ZONE 'UTC' - interval '{minutes} min' AND coalesce(api_base, '') <> ''
AND coalesce(cache_hit, '') <> 'True'"""
# Of each team with a budget: what it has spent in the running period.
BUDGETS = """\
SELECT json_build_array(coalesce(team_alias, team_id), spend, max_budget)
FROM "LiteLLM_TeamTable" WHERE max_budget IS NOT NULL;
"""


# --- queries


def query_postgres(config: Config, container: str, database: str, sql: str) -> list[Any]:
    """Rows of a query's answer, each one JSON value. It runs inside, on Postgres' own socket, without a password."""
    require_running(container)
    login = config.logins.get(container, Login("postgres", ""))
    psql = ["psql", "-XqAt", "--set=ON_ERROR_STOP=1", f"--username={login.user}", f"--dbname={database}"]
    # A query changes nothing and ends soon. It does not use a search_path that a database's owner has set, because
    # that can lead to functions of the owner.
    options = "-c default_transaction_read_only=on -c statement_timeout=20s"
    settings = {"PGOPTIONS": f"{options} -c search_path=pg_catalog,public -c role=none"}
    output = docker(
        *inside(container, *psql, user="postgres", secrets=settings), data=sql.encode(), secrets=settings
    )
    return [json.loads(line) for line in output.splitlines() if line]


def query_redis(config: Config, container: str, *commands: str, index: int = 0) -> list[str]:
    """Lines of the answers to some commands, in a database."""
    require_running(container)
    login = config.logins.get(container)
    secrets = {"REDISCLI_AUTH": login.password} if login else {}
    user = ["--user", login.user] if login and login.user else []
    cli = ["redis-cli", "--no-auth-warning", *user, "-n", str(index)]
    data = "".join(f"{command}\n" for command in commands).encode()
    lines = docker(*inside(container, *cli, secrets=secrets), data=data, secrets=secrets).splitlines()
    for line in lines:
        if re.match(r"(ERR|NOAUTH|NOPERM|WRONGPASS|LOADING|AUTH failed)\b", line):
            raise ScriptError(f"Redis answered: {line}")
    return lines


def redis_literal(text: str) -> str:
    """A text as redis-cli reads it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def sql_literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


# --- checks


def connections(config: Config, findings: Findings) -> None:
    for container in config.postgres:
        ((used, maximum),) = query_postgres(config, container, "postgres", CONNECTIONS)
        percent = 100 * used / maximum
        text = f"{container} has {used} of {maximum} connections in use ({percent:.0f} %)"
        findings.report_above(container, percent, config.limits.postgres_connections_percent, text)


def memory(config: Config, findings: Findings) -> None:
    for container in config.redis:
        lines = query_redis(config, container, "INFO memory")
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        used, maximum = int(info["used_memory"]), int(info["maxmemory"])
        percent = 100 * used / maximum if maximum else 0
        text = f"{container} uses {used >> 20} of {maximum >> 20} MiB ({percent:.0f} % of maxmemory)"
        findings.report_above(container, percent, config.limits.redis_memory_percent, text)


def caches(config: Config, findings: Findings) -> None:
    """Keys that never expire, in databases where every key must (requirements 6.3)."""
    for cache in config.caches:
        container, index = cache["container"], cache["index"]
        info = "\n".join(query_redis(config, container, "INFO keyspace"))
        match = re.search(rf"^db{index}:keys=(\d+),expires=(\d+)", info, re.MULTILINE)
        forever = int(match[1]) - int(match[2]) if match else 0
        text = f"{forever} keys in database {index} of {container} never expire, and it is a cache"
        findings.report_above(f"{container}/{index}", forever, cache["allowed"], text)


def queues(config: Config, findings: Findings) -> None:
    """Of each broker: the queues that its workers and senders have declared."""
    for broker in config.celery:
        container, index = broker["container"], int(broker["index"])
        for name in sorted(declared_queues(config, container, index)):
            length = queue_length(config, container, index, name)
            text = f"{length} tasks wait in Celery's queue {name} (database {index} of {container})"
            findings.report_above(f"{container}/{index}/{name}", length, config.limits.celery_queue, text)


def declared_queues(config: Config, container: str, index: int) -> set[str]:
    """Celery keeps a set for each exchange; a queue is the last of the three parts of each member."""
    keys: list[str] = []
    cursor = "0"
    while True:
        cursor, *page = query_redis(
            config, container, f"SCAN {cursor} MATCH {BINDINGS}* COUNT 1000", index=index
        )
        keys += [key for key in page if key]
        if cursor == "0":
            break
    # The workers' remote control and events have queues that are no queues of tasks.
    keys = [key for key in keys if not key.endswith((".pidbox", "celeryev"))]
    if not keys:
        return set()
    commands = (f"SMEMBERS {redis_literal(key)}" for key in keys)
    members = query_redis(config, container, *commands, index=index)
    return {member.rpartition(SEPARATOR)[2] for member in members if member}


def queue_length(config: Config, container: str, index: int, name: str) -> int:
    """Tasks of a queue, with those of its priorities, which are lists of their own."""
    lists = [name, *(f"{name}{SEPARATOR}{priority}" for priority in PRIORITIES)]
    commands = (f"LLEN {redis_literal(key)}" for key in lists)
    return sum(int(line) for line in query_redis(config, container, *commands, index=index))


def latencies(config: Config, findings: Findings) -> None:
    """How long each Ollama took."""
    ports: dict[str, str] = config.litellm["ollama"] if config.litellm else {}
    limit = config.limits.ollama_latency_p95_s
    answered = {port: (count, float(seconds)) for port, count, seconds in query_spend(config, LATENCIES)}
    for port, instance in ports.items():
        count, seconds = answered.get(port, (0, 0.0))
        if count < config.limits.min_calls:
            findings.report_unknown(instance)
            continue
        text = f"Ollama {instance} took {seconds:.0f} s for 95 % of {count} calls (limit {limit} s)"
        findings.report_above(instance, seconds, limit, text)


def fallbacks(config: Config, findings: Findings) -> None:
    """The share of calls that a cloud model answered although an Ollama here could have."""
    for total, local in query_spend(config, SHARES):
        if total < config.limits.min_calls:
            findings.report_unknown("rate")
            continue
        percent = 100 * (total - local) / total
        text = f"{percent:.0f} % of {total} calls were answered by a cloud model in Ollama's place"
        findings.report_above("rate", percent, config.limits.fallback_percent, text)


def query_spend(config: Config, sql: str) -> list[Any]:
    """Rows of a query of LiteLLM's database; none where the host has no LiteLLM yet."""
    litellm = config.litellm
    if litellm is None:
        return []
    query = sql.format(
        counted=COUNTED.format(minutes=config.limits.window_min),
        ports=", ".join(sql_literal(port) for port in litellm["ollama"]),
        direct=", ".join(sql_literal(group) for group in litellm["direct"]),
    )
    return query_postgres(config, litellm["container"], litellm["database"], query)


def budgets(config: Config, findings: Findings) -> None:
    """LiteLLM refuses a team's calls once its budget is spent."""
    for team, spent, budget in query_spend(config, BUDGETS):
        if spent >= budget:
            findings.report(team, f"team {team} has spent ${spent:.2f} of its ${budget:.2f}")


def backups(config: Config, findings: Findings) -> None:
    """Age of the newest good backup of each piece. A backup itself reports how it turned out."""
    for piece in config.backups["pieces"]:
        newest = 0.0
        for manifest in Path(config.backups["root"], piece).glob("[!.]*/manifest.json"):
            try:
                backup = json.loads(manifest.read_text())
                if not backup["doubt"]:
                    newest = max(newest, backup["time"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                log(f"no good backup: {manifest}: {error!r}")
        hours = (time.time() - newest) / 3600
        text = f"the last good backup is {hours:.0f} h old" if newest else "there is no good backup"
        findings.report_above(piece, hours, config.limits.backup_age_h, f"{piece}: {text}")


def certificates(config: Config, findings: Findings) -> None:
    """What the proxy shows the world. A certificate that the world would not trust is as bad as an expired one."""
    for domain in config.certificates["domains"]:
        context = ssl.create_default_context()
        address = (config.certificates["address"], int(config.certificates["port"]))
        try:
            with (
                socket.create_connection(address, timeout=CONNECT_TIMEOUT_S) as connection,
                context.wrap_socket(connection, server_hostname=domain) as tls,
            ):
                shown = tls.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            findings.report(domain, f"certificate of {domain}: {error.verify_message}")
            continue
        except OSError as error:
            raise ScriptError(f"{domain} at {address[0]}: {error}") from None
        days = (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / 86400
        if days < config.limits.certificate_days:
            text = f"certificate of {domain} expires in {days:.0f} days: it is not being renewed"
            findings.report(domain, text)
