"""Routes from files: Traefik's file provider, as far as it is known here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from .options import Options
from .routing import PASSED_THROUGH, Route, RouteError, Table, rule

KNOWN = {
    "routers": {"entryPoints", "rule", "middlewares", "service", "tls", "priority"},
    "services": {"loadBalancer"},
    "middlewares": {"redirectScheme", "stripPrefix", *PASSED_THROUGH},
}


class Files:
    """The files of a folder, or one file. One that cannot be read leaves what it said before, as in Traefik."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._documents: dict[Path, Mapping[str, Any]] = {}

    def table(self, options: Options) -> Table:
        """The routes of all files as they are now."""
        paths = [self._path] if self._path.is_file() else sorted(self._path.iterdir())
        found: dict[Path, Mapping[str, Any]] = {}
        errors = []
        for path in (path for path in paths if path.suffix in (".yaml", ".yml")):
            try:
                found[path] = document(path.read_text())
            except (OSError, RouteError) as error:
                errors.append(f"error reading configuration file {path}: {error}")
                if path in self._documents:
                    found[path] = self._documents[path]
        self._documents = found
        tables = [table(each, options) for each in found.values()]
        return Table.of(
            (route for each in tables for route in each.routes),
            (*errors, *(error for each in tables for error in each.errors)),
        )


def document(text: str) -> Mapping[str, Any]:
    """What a file says about HTTP.

    :raises RouteError: it is no YAML, or has what Traefik refuses, or what the stand-in does not know
    """
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RouteError(f"unable to decode: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("http", {}), dict):
        raise RouteError("field not found: a mapping is wanted")
    for name in content.keys() - {"http"}:
        raise RouteError(f"field not found, node: {name}")
    http: dict[str, Any] = content.get("http", {})
    for kind, elements in http.items():
        if kind not in KNOWN:
            raise RouteError(f"field not found, node: {kind}")
        if not elements:
            raise RouteError(f"{kind} cannot be a standalone element (type map[string]*dynamic.{kind})")
        for name, element in elements.items():
            for unknown in element.keys() - KNOWN[kind]:
                raise RouteError(f"{kind}.{name}: field not found, node: {unknown}")
    return http


def table(http: Mapping[str, Any], options: Options) -> Table:
    """The routes of one file."""
    routes, errors = [], []
    for name, router in http.get("routers", {}).items():
        try:
            routes.append(_route(name, router, http, options))
        except RouteError as error:
            errors.append(f"file: router {name}: {error}")
    return Table.of(routes, errors)


def _route(name: str, router: Mapping[str, Any], http: Mapping[str, Any], options: Options) -> Route:
    text = str(router.get("rule", ""))
    hosts, prefixes = rule(text)
    entrypoints = router.get("entryPoints", [])
    for entrypoint in entrypoints:
        if entrypoint not in options.entrypoints:
            raise RouteError(f"entryPoint {entrypoint!r} doesn't exist")
    tls = router.get("tls")
    resolver = (tls or {}).get("certResolver", "")
    if resolver and resolver not in options.resolvers:
        raise RouteError(f"nonexistent certificate resolver {resolver!r}")
    redirect, permanent, strip = "", False, []
    for middleware in router.get("middlewares", []):
        found = http.get("middlewares", {}).get(middleware.removesuffix("@file"))
        if not found:
            raise RouteError(f'middleware "{middleware}@file" does not exist')
        if (scheme := found.get("redirectScheme")) is not None:
            redirect, permanent = scheme.get("scheme", ""), bool(scheme.get("permanent"))
        strip += (found.get("stripPrefix") or {}).get("prefixes", [])
    return Route(
        name=name,
        hosts=hosts,
        prefixes=prefixes,
        entrypoints=frozenset(entrypoints or options.entrypoints),
        address=_address(str(router.get("service", "")), http),
        tls=tls is not None,
        resolver=resolver,
        redirect=redirect,
        permanent=permanent,
        strip=tuple(strip),
        priority=int(router.get("priority") or len(text)),
    )


def _address(service: str, http: Mapping[str, Any]) -> tuple[str, int]:
    found = http.get("services", {}).get(service.removesuffix("@file"))
    if not found:
        raise RouteError(f'the service "{service}@file" does not exist')
    servers = (found.get("loadBalancer") or {}).get("servers") or []
    if len(servers) != 1:
        raise RouteError(f"service {service!r}: the stand-in knows one server, not {len(servers)}")
    url = urlsplit(servers[0].get("url", ""))
    if url.scheme != "http" or not url.hostname:
        raise RouteError(f"service {service!r}: the stand-in knows http://HOST:PORT alone")
    return url.hostname, url.port or 80
