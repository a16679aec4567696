"""From the labels of containers to routes: Traefik's dynamic configuration, as far as it is known here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .options import Options

PREFIX = "traefik."
PASSED_THROUGH = ("compress", "headers", "buffering", "retry")  # middlewares that change nothing in the lab


class RouteError(ValueError):
    """A router that Traefik would not serve either, or that is beyond the stand-in."""


@dataclass(frozen=True)
class Container:
    """What Docker says about a running container.

    :param networks: its address in each network
    :param ready: healthy, or without a health check
    """

    name: str
    labels: Mapping[str, str]
    networks: Mapping[str, str]
    ready: bool = True


@dataclass(frozen=True)
class Route:
    """Requests that match go to `address`, or are redirected to `redirect` (a scheme)."""

    name: str
    hosts: tuple[str, ...]
    prefixes: tuple[str, ...]
    entrypoints: frozenset[str]
    address: tuple[str, int]
    tls: bool = False
    resolver: str = ""
    redirect: str = ""
    permanent: bool = False
    strip: tuple[str, ...] = ()
    priority: int = 0

    def matches(self, host: str, path: str) -> bool:
        """Whether a request to that host and path is meant."""
        return (not self.hosts or host.lower() in self.hosts) and (
            not self.prefixes or path.startswith(self.prefixes)
        )


@dataclass(frozen=True)
class Table:
    """All routes, the most particular first, and what was wrong with the others."""

    routes: tuple[Route, ...] = ()
    errors: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, routes: Iterable[Route], errors: Iterable[str] = ()) -> Table:
        """Routes in the order in which requests try them."""
        return cls(tuple(sorted(routes, key=lambda route: route.priority, reverse=True)), tuple(errors))

    def find(self, entrypoint: str, tls: bool, host: str, path: str) -> Route | None:
        """The route of a request; a router without TLS serves plain requests only, one with it the others only."""
        for route in self.routes:
            if entrypoint in route.entrypoints and route.tls == tls and route.matches(host, path):
                return route
        return None


class Provider:
    """Where routes come from; while it does not answer, what it said last is what counts.

    :param ask: what it says now
    """

    def __init__(self, ask: Callable[[], Table]) -> None:
        self._ask = ask
        self._last = Table()

    def table(self) -> Table:
        """Its routes."""
        try:
            self._last = self._ask()
        except OSError as error:
            return Table(self._last.routes, (f"provider: {error}",))
        return self._last


def merged(providers: Iterable[Provider]) -> Table:
    """The routes of all providers."""
    tables = [provider.table() for provider in providers]
    return Table.of(
        (route for each in tables for route in each.routes),
        (error for each in tables for error in each.errors),
    )


def table(containers: Iterable[Container], options: Options) -> Table:
    """The routes of all containers."""
    routes, errors = [], []
    for container in containers:
        labels = {
            name.lower(): value for name, value in container.labels.items() if name.lower().startswith(PREFIX)
        }
        if (
            labels.get("traefik.enable", str(options.exposed_by_default)).lower() != "true"
            or not container.ready
        ):
            continue
        for router in sorted(set(_names(labels, "routers"))):
            try:
                routes.append(_route(container, labels, router, options))
            except RouteError as error:
                errors.append(f"{container.name}: router {router}: {error}")
    return Table.of(routes, errors)


def rule(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hosts and path prefixes of a rule: alternatives of Host, restricted by alternatives of PathPrefix.

    :raises RouteError: it is another rule
    """
    hosts: list[str] = []
    prefixes: list[str] = []
    for part in re.split(r"\s*&&\s*", text.strip()):
        inner = part.removeprefix("(").removesuffix(")") if part.startswith("(") else part
        alternatives = re.split(r"\s*\|\|\s*", inner)
        found = [re.fullmatch(r"(Host|PathPrefix)\(`([^`]+)`\)", each.strip()) for each in alternatives]
        kinds = {match[1] for match in found if match}
        if None in found or len(kinds) != 1:
            raise RouteError(f"error while parsing rule {text}: only Host(`…`) and PathPrefix(`…`) are known")
        values = [match[2] for match in found if match]
        if kinds == {"Host"}:
            if hosts:
                raise RouteError(f"error while parsing rule {text}: two Hosts at once match nothing")
            hosts = [value.lower() for value in values]
        else:
            prefixes = prefixes + values
    return tuple(hosts), tuple(prefixes)


def _route(container: Container, labels: Mapping[str, str], router: str, options: Options) -> Route:
    def label(name: str, default: str = "") -> str:
        return labels.get(f"traefik.http.routers.{router}.{name}", default)

    hosts, prefixes = rule(label("rule"))
    entrypoints = [name.strip() for name in label("entrypoints").split(",") if name.strip()]
    for name in entrypoints:
        if name not in options.entrypoints:
            raise RouteError(f"entryPoint {name!r} doesn't exist")
    resolver = label("tls.certresolver")
    if resolver and resolver not in options.resolvers:
        raise RouteError(f"nonexistent certificate resolver {resolver!r}")
    redirect, permanent, strip = _middlewares(labels, label("middlewares"))
    return Route(
        name=router,
        hosts=hosts,
        prefixes=prefixes,
        entrypoints=frozenset(entrypoints or options.entrypoints),
        address=(_address(container, labels, options.network), _port(labels, label("service"))),
        tls=bool(resolver) or label("tls") == "true",
        resolver=resolver,
        redirect=redirect,
        permanent=permanent,
        strip=strip,
        priority=int(label("priority", str(len(label("rule"))))),
    )


def _middlewares(labels: Mapping[str, str], names: str) -> tuple[str, bool, tuple[str, ...]]:
    redirect, permanent, strip = "", False, []
    for middleware in (each.strip().partition("@")[0] for each in names.split(",") if each.strip()):
        prefix = f"traefik.http.middlewares.{middleware}."
        found = {
            name.removeprefix(prefix): value for name, value in labels.items() if name.startswith(prefix)
        }
        if not found:
            raise RouteError(f'middleware "{middleware}@docker" does not exist')
        kind = next(iter(found)).partition(".")[0]
        if kind == "redirectscheme":
            redirect = found.get("redirectscheme.scheme", "https")
            permanent = found.get("redirectscheme.permanent") == "true"
        elif kind == "stripprefix":
            strip += found.get("stripprefix.prefixes", "").split(",")
        elif kind not in PASSED_THROUGH:
            raise RouteError(f"middleware {middleware}: the stand-in does not know {kind}")
    return redirect, permanent, tuple(strip)


def _address(container: Container, labels: Mapping[str, str], default_network: str) -> str:
    network = labels.get("traefik.docker.network", default_network)
    address = container.networks.get(network) if network else next(iter(container.networks.values()), None)
    if not address:
        raise RouteError(f"unable to find the IP address for the container in network {network or 'any'!r}")
    return address


def _port(labels: Mapping[str, str], service: str) -> int:
    services: Collection[str] = set(_names(labels, "services"))
    if not service and len(services) > 1:
        raise RouteError("cannot be linked automatically with multiple services")
    name = service.partition("@")[0] or next(iter(services), "")
    port = labels.get(f"traefik.http.services.{name}.loadbalancer.server.port", "")
    if not port.isdigit():
        raise RouteError(f"service {name!r} error: port is missing")
    return int(port)


def _names(labels: Mapping[str, str], kind: str) -> list[str]:
    prefix = f"traefik.http.{kind}."
    return [name.removeprefix(prefix).partition(".")[0] for name in labels if name.startswith(prefix)]
