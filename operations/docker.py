"""The Docker engine: its configuration, networks, registry logins and images."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.docker import CONFIG, Engine, EngineState, Images, Network
from operations import script
from operations.checks import failure
from operations.files import tree
from specs.files import Directory, File
from specs.problems import Problem

# What `daemon` and `network` ask: one question for both.
ENGINE_PARTS = ("daemon", "networks", "rules")
VALIDATE = "dockerd --validate --config-file={path}"
DOCKER_HUB = "https://index.docker.io/v1/"  # as Docker names it in its own file
REFERENCE = re.compile(r"[a-z0-9][\w.:/-]*?(:[\w][\w.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})")


def problems(engine: EngineState, minimum_engine: str, minimum_compose: str = "2.0") -> Iterator[Problem]:
    """A problem for each reason not to use an existing engine; none where there is no engine yet.

    :param minimum_engine: a version such as "24.0"
    :param minimum_compose: likewise
    """
    if not engine.installed:
        return
    if engine.server is None:
        yield Problem(
            "Docker engine",
            "installed, but it does not answer",
            "a running daemon",
            "journalctl -u docker says why; start it, or remove the package so that it is installed anew",
        )
    elif _version(engine.server.version) < _version(minimum_engine):
        yield Problem(
            "Docker engine",
            f"version {engine.server.version}",
            f"at least {minimum_engine}",
            "upgrade it from where it was installed",
        )
    if engine.compose is None or _version(engine.compose) < _version(minimum_compose):
        yield Problem(
            "Docker Compose",
            f"version {engine.compose}" if engine.compose else "no `docker compose`",
            f"at least {minimum_compose}, as a plugin of docker",
            "install the Compose plugin that belongs to the engine (docker-compose-plugin for docker-ce)",
        )


def _version(text: str) -> tuple[int, ...]:
    """Numbers at the front of `26.1.5+dfsg1` or `v2.26.1-4`."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, match[1].split("."))) if match else ()


def merge(current: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """`current` with the values of `desired`, objects key by key; what only `current` has stays."""
    merged = dict(current)
    for key, value in desired.items():
        before = merged.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(before, value) if both else value  # type: ignore[arg-type] # `both` says so
    return merged


def read_config(text: str | None) -> dict[str, Any]:
    """The settings of a configuration file; raises `OperationError` for one that Docker cannot read either."""
    if not (text or "").strip():
        return {}
    try:
        settings = json.loads(text or "")
    except json.JSONDecodeError as error:
        settings = error
    if not isinstance(settings, dict):
        raise OperationError(
            f"{CONFIG}: found no JSON object ({settings}); expected one to add settings to, and it is not "
            "overwritten unasked: correct it, or move it away, and run again"
        )
    return settings


def restart_needed(engine: EngineState) -> bool:
    """Whether the daemon runs with another configuration than the one on the disk, or not at all."""
    if engine.server is None or engine.started is None:
        return True
    return engine.config_changed is not None and engine.config_changed > engine.started


def missing_rules(engine: EngineState, settings: Mapping[str, Any]) -> list[str]:
    """Rules that the engine adds to iptables at its start and that are missing now, in words.

    Without these, containers reach nothing, are not reached through the ports that they publish, or are not kept apart
    from those of other networks. IPv4 only: networks have IPv6 only where somebody asked for it.

    :param settings: of the daemon, which may have it leave the tables alone, or use nftables itself
    """
    rules = engine.rules
    if engine.server is None or rules is None or settings.get("iptables") is False:
        return []
    if settings.get("firewall-backend", "iptables") != "iptables":
        return []
    nat = rules.get(("nat", "POSTROUTING"), ())
    translated = rules.get(("nat", "DOCKER"), ())
    forwarded = [rule for (table, _), found in rules.items() if table == "filter" for rule in found]
    apart = rules.get(("filter", "DOCKER-ISOLATION-STAGE-1"))  # not every version has it
    missing = []
    if not any(rule.endswith("-j DOCKER") for rule in rules.get(("nat", "PREROUTING"), ())):
        missing.append("nat: PREROUTING does not come to DOCKER")
    for network in engine.networks.values():
        if network.bridge is None:
            continue
        if not network.internal and f"-o {network.bridge} -j DOCKER" not in forwarded:
            missing.append(f"filter: nothing leads to {network.bridge} ({network.name})")
        if apart is not None and not any(f"-i {network.bridge} " in f"{rule} " for rule in apart):
            missing.append(f"filter: {network.bridge} ({network.name}) is not kept apart from other networks")
        missing += [
            f"nat: no masquerading of {subnet} ({network.name})"
            for subnet in network.subnets
            if not any(f"-s {subnet} " in rule and "-j MASQUERADE" in rule for rule in nat)
        ]
    for one in engine.published:
        rule_text = f"-p {one.protocol} -m {one.protocol} --dport {one.port} -j DNAT"
        if not any(rule_text in rule for rule in translated):
            missing.append(f"nat: nothing leads from {one.port}/{one.protocol} to {one.container}")
    return missing + _accepted_too_early(rules.get(("filter", "FORWARD"), ()), engine.networks.values())


def _accepted_too_early(forward: Sequence[str], networks: Iterable[Network]) -> list[str]:
    """Whether a network's rule for the way out comes before those that isolate networks."""
    bridges = {network.bridge for network in networks}
    for rule in forward:
        if re.fullmatch(r"-j DOCKER-(ISOLATION-STAGE-1|FORWARD)", rule):
            return []
        out = re.fullmatch(r"-i (\S+) ! -o \1 -j ACCEPT", rule)
        if out and out[1] in bridges:
            return [f"filter: FORWARD lets {out[1]} out before it keeps the networks apart"]
    return ["filter: FORWARD does not keep the networks apart"] if any(bridges) else []


def refusal(engine: EngineState, settings: Mapping[str, Any]) -> str | None:
    """The reason why a restart with `settings` would harm containers, None if there is none."""
    server = engine.server
    if server is None:
        return None
    if server.live_restore and server.running and not settings.get("live-restore", False):
        return (
            f"found {server.running} running containers under live-restore; expected it off, but a restart that "
            "switches it off leaves them dead: stop them first (docker stop), or keep live-restore"
        )
    for key, found in (("storage-driver", server.driver), ("data-root", server.root)):
        desired = settings.get(key, found)
        if desired != found and server.containers:
            return (
                f"found {server.containers} containers with {key} {found}; expected {key} {desired}, under which "
                f"Docker would find neither them nor their images: declare {key} {found}, or remove them first"
            )
    return None


@operation()
def daemon(settings: Mapping[str, Any]) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Run the daemon with these settings, and with the settings that others have added.

    The file is validated by dockerd itself before it replaces the old one. Docker is restarted when the file is newer
    than the daemon, which an interrupted run leaves behind as well, and when somebody flushed its rules: it makes them
    at its start only. Containers survive that where live-restore is declared, even if it was off before.

    Raises `OperationError`, before anything is changed, for an unreadable file and for a restart that would leave
    containers dead or out of sight. Fails where rules are still missing after a restart.

    + settings: keys of daemon.json (https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file)
    """
    engine: EngineState = cached_fact(Engine, parts=ENGINE_PARTS)
    current = read_config(engine.config)
    desired = merge(current, settings)
    changed = desired != current
    missing = missing_rules(engine, current)
    for each in missing:
        host.log(f"rules of the engine: {each}")
    if not changed and not missing and not restart_needed(engine):
        host.noop(f"the daemon runs with {CONFIG} as declared")
        return
    if reason := refusal(engine, desired):
        raise OperationError(reason)
    if changed:
        content = json.dumps(desired, indent=2) + "\n"
        yield from tree._inner(entries=[Directory("/etc/docker"), File(CONFIG, content, validate=VALIDATE)])
    yield script.run("docker/restart.sh", json.dumps(bool(desired.get("live-restore"))), stream=True)
    if (
        missing
        and state.is_executing
        and (missing_still := missing_rules(host.get_fact(Engine, parts=ENGINE_PARTS), desired))
    ):
        remedy = (
            f"is the engine told on its command line not to keep rules? Say so in {CONFIG} "
            '("iptables": false); does another program keep them away?'
        )
        problem = Problem(
            "rules of the Docker engine", "; ".join(missing_still), "all of them after its restart", remedy
        )
        yield failure("Docker", [problem])


def network_drift(network: Network) -> list[str]:
    """The ways in which a network differs from a bridge with a way out, in words."""
    drift = []
    if network.driver != "bridge":
        drift.append(f"driver {network.driver} instead of bridge")
    if network.internal:
        drift.append("internal")
    return drift


@operation()
def network(network: str) -> Generator[StringCommand, None, None]:
    """A network that containers of any project can join. Created if it is absent; never removed.

    Raises `OperationError` for another network of that name: containers are in it, and their owner has
    to know.

    + network: its name
    """
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", network):
        raise OperationValueError(f"{network!r} is not a name for a network of Docker")
    actual = cached_fact(Engine, parts=ENGINE_PARTS).networks.get(network)
    if actual is None:
        yield StringCommand("docker network create --driver bridge --attachable", QuoteString(network))
    elif drift := network_drift(actual):
        raise OperationError(
            f"network {network}: found it {', '.join(drift)}. It is not removed unasked: disconnect its "
            f"containers (docker network inspect {network}), `docker network rm {network}`, and run again"
        )
    else:
        host.noop(f"network {network} exists")


def auth_sha256(username: str, password: str) -> str:
    """Hash of a login as Docker stores it."""
    return hashlib.sha256(base64.b64encode(f"{username}:{password}".encode())).hexdigest()


@operation()
def login(registry: str, username: str, password: str | HiddenValue) -> Generator[StringCommand, None, None]:
    """Log in to a registry, unless Docker already stores this login. The password travels on standard input.

    + registry: host, with its port if it is not 443; `docker.io` for Docker Hub
    + username: shown in process lists
    + password: or token
    """
    if not re.fullmatch(r"[a-z0-9.-]+(:\d+)?", registry) or registry.startswith("-"):
        raise OperationValueError(
            f"registry {registry!r}: expected a host such as ghcr.io, without https:// or path"
        )
    if not re.fullmatch(r"[^\s:-][^\s:]*", username):
        raise OperationValueError(f"username {username!r} of {registry}: expected one word without a colon")
    secret = password.unmask() if isinstance(password, HiddenValue) else password
    if not secret or "\n" in secret:
        raise OperationValueError(
            f"password of {username} at {registry}: expected one line that is not empty"
        )
    stored = cached_fact(Engine, parts=("logins",)).logins
    if stored.get(DOCKER_HUB if registry == "docker.io" else registry) == auth_sha256(username, secret):
        host.noop(f"logged in to {registry} as {username}")
        return
    arguments = ("--username", QuoteString(username), "--password-stdin", QuoteString(registry))
    yield StringCommand("docker login", *arguments, _stdin=[secret])


@operation()
def images(references: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Pull the images that are missing on the host. Whether a tag has moved in the registry is not checked.

    + references: with a tag or a digest
    """
    for reference in references:
        if not REFERENCE.fullmatch(reference):
            raise OperationValueError(
                f"image {reference!r}: expected a reference with a tag or a digest, such as redis:7-alpine"
            )
    pulled = cached_fact(Images, references=references) if references else {}
    if missing := [reference for reference in dict.fromkeys(references) if reference not in pulled]:
        yield script.run("docker/pull.sh", *missing, stream=True)
    else:
        host.noop("all images are there")
