"""A stand-in for Elasticsearch 7.17: settings, refusals, indexes and documents as its REST API has them; no scoring.

Sources: the guide for 7.17 (REST APIs, Docker, bootstrap checks).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

VERSION = "7.17.27"
DATA = Path("/usr/share/elasticsearch/data")
DISCOVERY = ("discovery.seed_hosts", "discovery.seed_providers", "cluster.initial_master_nodes")
MAX_RESULTS = 10_000
SHARDS = {"total": 1, "successful": 1, "failed": 0}
_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]*")
_MEMORY = re.compile(r"-X(m[sx])(\d+[kKmMgG]?)")


class SettingsError(ValueError):
    """Why the node does not start."""


class RefusedError(Exception):
    """An error of the API."""

    def __init__(self, status: int, kind: str, reason: str, **more: object) -> None:
        super().__init__(reason)
        self.status = status
        self.body = {"error": {"type": kind, "reason": reason, **more}, "status": status}


def settings(environment: Mapping[str, str], options: list[str]) -> dict[str, str]:
    """Settings of the node: variables with a dot, ES_SETTING_…, and -E options, which win.

    :raises SettingsError: the real one would not start
    """
    found = {name: value for name, value in environment.items() if "." in name and name.islower()}
    for name, value in environment.items():
        if name.startswith("ES_SETTING_"):
            parts = name.removeprefix("ES_SETTING_").lower().split("__")
            found["_".join(part.replace("_", ".") for part in parts)] = value
    words = iter(options)
    for word in words:
        pair = next(words, "") if word == "-E" else word.removeprefix("-E")
        name, separator, value = pair.partition("=")
        if not word.startswith("-E") or not separator:
            raise SettingsError(f"Positional arguments not allowed, found [{word}]")
        found[name] = value
    memory = dict(_MEMORY.findall(environment.get("ES_JAVA_OPTS", "")))
    if len(memory) == 1:
        raise SettingsError("set both -Xms and -Xmx: heap sizes have to be equal")
    kind = found.get("discovery.type", "zen")
    if kind not in ("zen", "single-node"):
        raise SettingsError(f"Unknown discovery type [{kind}]")
    if kind == "single-node":
        return found
    checks = []
    if len(set(memory.values())) > 1:
        checks.append(f"initial heap size [{memory['ms']}] not equal to maximum heap size [{memory['mx']}]")
    if not any(found.get(name) for name in DISCOVERY):
        checks.append(
            "the default discovery settings are unsuitable for production use; at least one of"
            f" [{', '.join(DISCOVERY)}] must be configured"
        )
    if checks:
        numbered = [
            f"bootstrap check failure [{i}] of [{len(checks)}]: {each}" for i, each in enumerate(checks, 1)
        ]
        raise SettingsError("\n".join([f"[{len(checks)}] bootstrap checks failed", *numbered]))
    return found


@dataclass
class Index:
    """One index: its settings as it was made, and its documents."""

    body: dict[str, Any]
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:22])
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    changes: int = 0

    def changed(self, name: str, number: str, result: str) -> dict[str, Any]:
        """Count a change of a document, and what the API says of it."""
        version = self.versions[number] = self.versions.get(number, 0) + 1
        sequence, self.changes = self.changes, self.changes + 1
        place = {"_index": name, "_type": "_doc", "_id": number, "_seq_no": sequence, "_primary_term": 1}
        return place | {"_version": version, "result": result, "_shards": SHARDS}


class Node:
    """Indexes, templates and settings, kept in one file of the data folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "node.json"
        self._lock = threading.RLock()
        try:
            (folder / "node.lock").touch()
        except OSError as error:
            raise SettingsError(
                f"failed to obtain node locks, tried [{folder}]: {error.strerror}; maybe it is not writable"
            ) from None
        kept = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.templates: dict[str, Any] = kept.get("templates", {})
        self.cluster_settings: dict[str, Any] = kept.get("settings", {"persistent": {}, "transient": {}})
        self.indexes = {name: Index(**index) for name, index in kept.get("indexes", {}).items()}

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Whoever changes something does it alone, and it is on the disk when he is done."""
        with self._lock:
            yield
            content = {
                "templates": self.templates,
                "settings": self.cluster_settings,
                "indexes": {name: vars(index) for name, index in self.indexes.items()},
            }
            temporary = self._file.with_suffix(".new")
            temporary.write_text(json.dumps(content))
            temporary.replace(self._file)

    def create(self, name: str, body: dict[str, Any]) -> Index:
        """Make an index; templates whose pattern it has are laid under its own body."""
        if not _INDEX.fullmatch(name):
            raise RefusedError(
                400, "invalid_index_name_exception", f"Invalid index name [{name}]", index=name
            )
        if name in self.indexes:
            number = self.indexes[name].number
            raise RefusedError(
                400,
                "resource_already_exists_exception",
                f"index [{name}/{number}] already exists",
                index=name,
            )
        merged: dict[str, Any] = {}
        for template in sorted(self.templates.values(), key=lambda each: each.get("order", 0)):
            patterns = template.get("index_patterns", [])
            patterns = [patterns] if isinstance(patterns, str) else patterns
            if any(matches(pattern, name) for pattern in patterns):
                merged |= {
                    key: template[key] for key in ("settings", "mappings", "aliases") if key in template
                }
        self.indexes[name] = Index(merged | body)
        return self.indexes[name]

    def get(self, name: str) -> Index:
        """:raises RefusedError: there is no such index"""
        if name not in self.indexes:
            raise RefusedError(
                404, "index_not_found_exception", f"no such index [{name}]", index=name, index_uuid="_na_"
            )
        return self.indexes[name]

    def matching(self, pattern: str) -> dict[str, Index]:
        """The indexes of a name, a list or a pattern."""
        found: dict[str, Index] = {}
        for part in pattern.split(","):
            if part == "_all" or "*" in part:
                found |= {
                    name: each for name, each in self.indexes.items() if part == "_all" or matches(part, name)
                }
            else:
                found[part] = self.get(part)
        return found


def matches(pattern: str, name: str) -> bool:
    """Whether a name has a pattern with asterisks."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def holds(query: dict[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a document is found by a query; raises RefusedError for a query that the stand-in does not know."""
    (kind, body), *more = query.items() if query else {"match_all": query}.items()
    if more:
        raise RefusedError(400, "parsing_exception", f"[{kind}] malformed query, expected [END_OBJECT]")
    if kind == "match_all":
        return True
    if kind == "bool":
        clauses = {name: [part] if isinstance(part, dict) else part for name, part in body.items()}
        should = clauses.get("should", [])
        return (
            all(holds(part, document) for name in ("must", "filter") for part in clauses.get(name, []))
            and not any(holds(part, document) for part in clauses.get("must_not", []))
            and (not should or any(holds(part, document) for part in should))
        )
    if kind == "exists":
        return _value(document, body["field"]) is not None
    if kind not in ("term", "terms", "match", "range"):
        raise RefusedError(400, "parsing_exception", f"unknown query [{kind}]")
    (name, criterion), *_ = body.items()
    value = _value(document, name)
    values = value if isinstance(value, list) else [value]
    if kind == "range":
        limits = {"gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}
        return value is not None and all(
            getattr(value, limits[key])(limit) is True for key, limit in criterion.items() if key in limits
        )
    if isinstance(criterion, dict):
        criterion = criterion.get("value", criterion.get("query"))
    if kind == "match" and isinstance(criterion, str):
        words = {word for each in values for word in str(each).lower().split()}
        return bool(words & set(criterion.lower().split()))
    return any(each in (criterion if kind == "terms" else [criterion]) for each in values)


def _value(document: Mapping[str, Any], name: str) -> Any:
    value: Any = document
    for part in name.removesuffix(".keyword").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


class Api:
    """The REST API over a node."""

    def __init__(self, node: Node, config: Mapping[str, str], password: str = "") -> None:
        self.node = node
        self.name = config.get("node.name", os.environ.get("HOSTNAME", "node"))
        self.cluster = config.get("cluster.name", "docker-cluster")
        self._password = password if config.get("xpack.security.enabled") == "true" else ""

    def answer(self, method: str, path: str, body: Any, authorization: str) -> tuple[int, Any]:
        """Status and content for a request; raises RefusedError."""
        if self._password:
            expected = base64.b64encode(f"elastic:{self._password}".encode()).decode()
            if authorization != f"Basic {expected}":
                raise RefusedError(401, "security_exception", "missing or wrong authentication credentials")
        parts = [part for part in path.split("/") if part]
        match method, parts:
            case "GET" | "HEAD", []:
                number = {"number": VERSION, "build_flavor": "default", "build_type": "docker"}
                return 200, {
                    "name": self.name,
                    "cluster_name": self.cluster,
                    "version": number,
                    "tagline": "You Know, for Search",
                }
            case "GET", ["_cluster", "health", *_]:
                return 200, self.health()
            case "GET", ["_cluster", "settings"]:
                return 200, self.node.cluster_settings
            case "PUT", ["_cluster", "settings"]:
                with self.node.change():
                    for scope in ("persistent", "transient"):
                        self.node.cluster_settings[scope] |= body.get(scope, {})
                return 200, {"acknowledged": True, "persistent": {}, "transient": {}} | body
            case "PUT" | "POST", ["_template", name]:
                if not body.get("index_patterns"):
                    raise RefusedError(
                        400, "action_request_validation_exception", "index patterns are missing"
                    )
                with self.node.change():
                    self.node.templates[name] = body
                return 200, {"acknowledged": True}
            case "GET" | "HEAD", ["_template", name]:
                known = self.node.templates
                return (200, {name: known[name]}) if name in known else (404, {})
            case "GET", ["_cat", "indices"]:
                rows = [
                    {"index": name, "health": "yellow", "docs.count": str(len(index.documents))}
                    for name, index in sorted(self.node.indexes.items())
                ]
                return 200, rows
            case _, [name, *rest] if not name.startswith("_") or name == "_all":
                return self._index(method, name, rest, body)
        raise _unknown(method, path)

    def health(self) -> dict[str, object]:
        """The cluster's health: with one node, replicas have no place, so with indexes it is yellow."""
        shards = len(self.node.indexes)
        return {
            "cluster_name": self.cluster,
            "status": "yellow" if shards else "green",
            "timed_out": False,
            "number_of_nodes": 1,
            "number_of_data_nodes": 1,
            "active_primary_shards": shards,
            "active_shards": shards,
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": shards,
        }

    def _index(self, method: str, name: str, rest: list[str], body: Any) -> tuple[int, Any]:
        node = self.node
        match method, rest:
            case "PUT", []:
                with node.change():
                    node.create(name, body)
                return 200, {"acknowledged": True, "shards_acknowledged": True, "index": name}
            case "GET" | "HEAD", []:
                return 200, {found: index.body for found, index in node.matching(name).items()}
            case "DELETE", []:
                with node.change():
                    for found in node.matching(name):
                        del node.indexes[found]
                return 200, {"acknowledged": True}
            case "PUT" | "POST", ["_doc" | "_create" as way, *number] if number or (method, way) == (
                "POST",
                "_doc",
            ):
                return self._put(name, number[0] if number else uuid.uuid4().hex[:20], body, way == "_create")
            case "GET" | "HEAD", ["_doc", number]:
                index = node.get(name)
                answer: dict[str, Any] = {"_index": name, "_type": "_doc", "_id": number, "found": False}
                if number not in index.documents:
                    return 404, answer
                document = {"_version": index.versions[number], "_source": index.documents[number]}
                return 200, answer | {"found": True} | document
            case "GET" | "HEAD", ["_source", number]:
                documents = node.get(name).documents
                if number not in documents:
                    reason = f"Document not found [{name}]/[_doc]/[{number}]"
                    raise RefusedError(404, "resource_not_found_exception", reason)
                return 200, documents[number]
            case "DELETE", ["_doc", number]:
                index = node.get(name)
                with node.change():
                    known = index.documents.pop(number, None) is not None
                    answer = index.changed(name, number, "deleted" if known else "not_found")
                return (200 if known else 404), answer
            case "PUT" | "POST", ["_mapping"]:
                with node.change():
                    for each in node.matching(name).values():
                        mappings = each.body.setdefault("mappings", {})
                        mappings["properties"] = mappings.get("properties", {}) | body.get("properties", {})
                return 200, {"acknowledged": True}
            case "GET", ["_mapping"]:
                indexes = node.matching(name).items()
                return 200, {each: {"mappings": index.body.get("mappings", {})} for each, index in indexes}
            case "GET" | "POST", ["_search"]:
                return 200, self._search(name, body)
            case "GET" | "POST", ["_count"]:
                hits = self._search(name, {**body, "size": 0})["hits"]
                return 200, {"count": hits["total"]["value"], "_shards": SHARDS}
            case "POST" | "GET", ["_refresh"]:
                node.matching(name)
                return 200, {"_shards": SHARDS}
        raise _unknown(method, "/".join(["", name, *rest]))

    def _put(self, name: str, number: str, body: Any, only_new: bool) -> tuple[int, Any]:
        node = self.node
        with node.change():
            index = node.indexes.get(name) or node.create(name, {})
            known = number in index.documents
            if known and only_new:
                raise RefusedError(
                    409,
                    "version_conflict_engine_exception",
                    f"[{number}]: version conflict, document already exists",
                )
            index.documents[number] = body
            answer = index.changed(name, number, "updated" if known else "created")
        return (200 if known else 201), answer

    def _search(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        size, first = body.get("size", 10), body.get("from", 0)
        if first + size > MAX_RESULTS:
            raise RefusedError(
                400, "illegal_argument_exception", f"Result window is too large: [{first + size}]"
            )
        hits = [
            {"_index": found, "_type": "_doc", "_id": number, "_score": 1.0, "_source": document}
            for found, index in sorted(self.node.matching(name).items())
            for number, document in index.documents.items()
            if holds(body.get("query", {"match_all": {}}), document)
        ]
        for entry in reversed(body.get("sort", [])):
            (key, how), *_ = entry.items() if isinstance(entry, dict) else [(entry, "asc")]
            order = how.get("order", "asc") if isinstance(how, dict) else how
            hits.sort(key=partial(_sortable, key), reverse=order == "desc")
        return {
            "took": 1,
            "timed_out": False,
            "_shards": SHARDS | {"skipped": 0},
            "hits": {
                "total": {"value": len(hits), "relation": "eq"},
                "max_score": 1.0 if hits else None,
                "hits": hits[first : first + size],
            },
        }


def _sortable(key: str, hit: Mapping[str, Any]) -> tuple[bool, Any]:
    value = _value(hit["_source"], key)
    return (value is not None, value if value is not None else 0)


def _unknown(method: str, path: str) -> RefusedError:
    reason = f"no handler found for uri [{path}] and method [{method}]"
    return RefusedError(400, "illegal_argument_exception", reason)


def application(api: Api) -> Starlette:
    """The API behind HTTP."""

    async def serve(request: Request) -> Response:
        headers = {"X-elastic-product": "Elasticsearch"}
        try:
            raw = await request.body()
            try:
                body = json.loads(raw) if raw.strip() else {}
            except ValueError:
                raise RefusedError(400, "parse_exception", "request body is not JSON") from None
            authorization = request.headers.get("Authorization", "")
            status, content = api.answer(request.method, request.url.path, body, authorization)
        except RefusedError as error:
            status, content = error.status, error.body
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        return JSONResponse(content, status_code=status, headers=headers)

    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", serve, methods=methods)])


def main() -> int:
    """Start as the real one does, or say why not and exit with its status."""
    try:
        config = settings(os.environ, sys.argv[1:])
        api = Api(
            Node(Path(config.get("path.data", str(DATA)))), config, os.environ.get("ELASTIC_PASSWORD", "")
        )
    except SettingsError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 78
    sys.stderr.write(f"started Elasticsearch {VERSION} (stand-in)\n")
    uvicorn.run(application(api), host="0.0.0.0", port=9200, access_log=False, log_level="warning")  # noqa: S104
    return 0


if __name__ == "__main__":
    sys.exit(main())
