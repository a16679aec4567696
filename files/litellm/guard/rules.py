"""Which requests may reach LiteLLM: routes by kind of caller and by port, and the allowed contents of a project's body.

The allow-lists come from LiteLLM's source at 1.63.2. What they do not name is refused. Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

BODY_LIMIT = 16 * 1024 * 1024  # a few photographs in base64
SMALL_BODY_LIMIT = 1024 * 1024
PARTS_LIMIT = 500_000  # commas, colons and brackets: the memory that a parsed body takes grows with them
DEPTH_LIMIT = 40
TIMEOUT_LIMIT_S = 600
RETRIES_LIMIT = 5

DASHBOARD_TEAM = "litellm-dashboard"  # LiteLLM's own team, of the keys that its page creates at a login


class RefusedError(Exception):
    """A request that is refused before LiteLLM reads it.

    :param status: HTTP status of the answer
    :param param: key, parameter or header that is refused, or ""
    """

    def __init__(self, status: int, message: str, param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


class Kind(Enum):
    """The kind of credential that a request has."""

    NOBODY = "nobody"
    PROJECT = "a project's key"
    DASHBOARD = "a login of the dashboard"
    MASTER = "the master key"


@dataclass(frozen=True)
class Caller:
    """Who sends a request.

    :param team: id of the key's team
    :param models: models and aliases that its team may use; none means all that are declared
    """

    kind: Kind
    team: str = ""
    models: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Declared:
    """The declarations that the allow-lists use.

    :param port: port for containers
    :param domain_port: port for the public domain's proxy
    :param models: every name of a model, aliases included
    :param domain_admin_routes: routes of administration that are open through the domain as well
    :param cache_ttl_s: most seconds that an answer may be cached
    :param cache_namespace: prefix of all keys of the cache
    """

    port: int
    domain_port: int
    models: frozenset[str]
    domain_admin_routes: frozenset[str]
    cache_ttl_s: int
    cache_namespace: str

    @classmethod
    def read(cls, text: str) -> Declared:
        """From the JSON that is rendered beside LiteLLM's configuration."""
        values: dict[str, Any] = json.loads(text)
        for name in ("models", "domain_admin_routes"):
            values[name] = frozenset(values[name])
        return cls(**values)


# --- routes -----------------------------------------------------------------------------------------------------------

Check = Callable[[str, Any], None]


@dataclass(frozen=True)
class Route:
    """How a route may be used.

    :param queries: parameters that its URL may have; None for any
    :param body: allowed contents of its body; None forwards a body as it is, up to `limit`
    :param limit: bytes of its body; None for any
    """

    queries: frozenset[str] | None = frozenset()
    body: Callable[[Declared, Caller], Mapping[str, Check]] | None = None
    limit: int | None = 0


_ANY = Route(queries=None, limit=None)
_READ = Route(queries=None)

# Routes without a key: health, and the page of the dashboard before a login.
_OPEN = {
    ("GET", "/health/liveliness"): Route(),
    ("GET", "/health/liveness"): Route(),
    ("GET", "/sso/key/generate"): Route(),  # the login's form; single sign-on is not set up
    ("GET", "/fallback/login"): Route(),
    ("POST", "/login"): Route(limit=4096),
    ("GET", "/get_image"): Route(),  # the page's logo
}
_OPEN_INSIDE = {("GET", "/health/readiness"): Route()}  # it names the database, the cache and the version
_PAGE = re.compile(r"/ui(/[A-Za-z0-9_.()\[\]~-]+)*/?")
_PAGE_ROUTE = Route(queries=None)

# What a login of the dashboard may do without a declaration: read.
_DASHBOARD = {
    **{
        ("GET", path): _READ
        for path in (
            "/budget/list",
            "/get/litellm_model_cost_map",
            "/global/activity",
            "/global/activity/cache_hits",
            "/global/activity/exceptions",
            "/global/activity/exceptions/deployment",
            "/global/activity/model",
            "/global/all_end_users",
            "/global/spend",
            "/global/spend/all_tag_names",
            "/global/spend/keys",
            "/global/spend/logs",
            "/global/spend/models",
            "/global/spend/provider",
            "/global/spend/tags",
            "/global/spend/teams",
            "/guardrails/list",
            "/health/readiness",
            "/key/info",
            "/key/list",
            "/model/info",
            "/model/metrics",
            "/model/metrics/exceptions",
            "/model/metrics/slow_responses",
            "/model/streaming_metrics",
            "/model_group/info",
            "/models",
            "/organization/list",
            "/spend/keys",
            "/spend/logs",
            "/spend/logs/ui",
            "/spend/tags",
            "/spend/users",
            "/sso/get/ui_settings",
            "/team/available",
            "/team/info",
            "/team/list",
            "/user/available_roles",
            "/user/filter/ui",
            "/user/get_users",
            "/user/info",
            "/user/list",
            "/v1/model/info",
            "/v1/models",
            "/v2/model/info",
        )
    },
    # A read as well, although its method is POST.
    ("POST", "/global/spend/end_users"): Route(queries=None, limit=SMALL_BODY_LIMIT),
}


def route(declared: Declared, caller: Kind, on_domain: bool, method: str, path: str) -> Route:
    """The route that a request may use.

    :param caller: the kind of its credential
    :param on_domain: it came through the public domain
    :param path: decoded, exactly as LiteLLM's router gets it
    :raises RefusedError: the request may not use this route
    """
    if opened := open_route(on_domain, method, path):
        return opened
    if caller is Kind.NOBODY:
        raise RefusedError(401, "no key: send it as the header Authorization: Bearer sk-…")
    if caller is Kind.MASTER and not on_domain:
        return _ANY
    if caller is Kind.PROJECT and (found := _PROJECT.get((method, path))):
        return found
    if caller is Kind.DASHBOARD and (found := _DASHBOARD.get((method, path))):
        return found
    if caller in (Kind.MASTER, Kind.DASHBOARD) and path in declared.domain_admin_routes:
        return Route(queries=None, limit=SMALL_BODY_LIMIT)
    where = " through the domain" if on_domain and caller is Kind.MASTER else ""
    raise RefusedError(403, f"this route is not open to {caller.value}{where}")


def open_route(on_domain: bool, method: str, path: str) -> Route | None:
    """A route that needs no key."""
    if found := _OPEN.get((method, path)):
        return found
    if not on_domain and (found := _OPEN_INSIDE.get((method, path))):
        return found
    # Only pages of that folder, not of its parents.
    page = method in ("GET", "HEAD") and _PAGE.fullmatch(path) and ".." not in path
    return _PAGE_ROUTE if page else None


def queries(used: Route, caller: Caller, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse parameters of a URL that the route does not have, or that name another team.

    :raises RefusedError: one of them
    """
    if used.queries is None:
        return
    for name, value in pairs:
        if name not in used.queries:
            raise RefusedError(400, f"{name}: this route takes no such parameter in its URL", name)
        if name == "team_id" and value != caller.team:
            raise RefusedError(403, "team_id: not the team of this key", name)
    if len({name for name, _ in pairs}) != len(pairs):
        raise RefusedError(400, "a parameter of the URL is repeated")


# --- bodies -----------------------------------------------------------------------------------------------------------


def scalar(where: str, value: Any) -> None:
    """A text, a number, true, false or null. LiteLLM reads its environment for texts that begin with os.environ/."""
    if isinstance(value, dict | list):
        raise RefusedError(400, f"{where}: expected a text, a number, true, false or null", where)
    if isinstance(value, str) and "os.environ" in value:
        raise RefusedError(400, f"{where}: names a variable of the gateway", where)


def text(where: str, value: Any) -> None:
    """What a model reads: any text, or null."""
    if value is not None and not isinstance(value, str):
        raise RefusedError(400, f"{where}: expected a text", where)


def nothing(where: str, value: Any) -> None:
    """Null, or empty: a key of an answer's message that a request does not need."""
    if value not in (None, [], {}):
        raise RefusedError(400, f"{where}: not accepted from a project", where)


def schema(where: str, value: Any, depth: int = 0) -> None:
    """Any JSON that is not too deep: a JSON schema, which only the model reads."""
    if depth > DEPTH_LIMIT:
        raise RefusedError(400, f"{where}: too deep", where)
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            schema(where, each, depth + 1)


def one_of(*values: str) -> Check:
    def check(where: str, value: Any) -> None:
        if value not in values:
            raise RefusedError(400, f"{where}: expected {' or '.join(values)}", where)

    return check


def number(lowest: float, highest: float) -> Check:
    def check(where: str, value: Any) -> None:
        known = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if not known or (value is not None and not lowest <= value <= highest):
            raise RefusedError(400, f"{where}: expected a number from {lowest:g} to {highest:g}", where)

    return check


def each(check: Check) -> Check:
    """A list whose items pass a check."""

    def check_list(where: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            raise RefusedError(400, f"{where}: expected a list", where)
        for index, item in enumerate(value):
            check(f"{where}[{index}]", item)

    return check_list


def either(*checks: Check) -> Check:
    """Any of some checks. If all refuse, the refusal is that of the last one."""

    def check(where: str, value: Any) -> None:
        for alternative in checks[:-1]:
            with suppress(RefusedError):
                return alternative(where, value)
        return checks[-1](where, value)

    return check


def keys(allowed: Mapping[str, Check], others: Check | None = None) -> Check:
    """An object with these keys.

    :param others: check of all other keys
    """

    def check(where: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            raise RefusedError(400, f"{where or 'body'}: expected an object", where)
        for key, item in value.items():
            place = f"{where}.{key}" if where else key
            check_item = allowed.get(key, others)
            if check_item is None:
                raise RefusedError(400, f"{place}: not among the keys that a project may send", place)
            check_item(place, item)

    return check


def _text_or_list(where: str, value: Any) -> None:
    (each(text) if isinstance(value, list) else text)(where, value)


def _tokens(where: str, value: Any) -> None:
    """A text, several, or their tokens."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, list):
                each(number(0, 2**31))(f"{where}[{index}]", item)
            elif not isinstance(item, str):
                number(0, 2**31)(f"{where}[{index}]", item)
    else:
        text(where, value)


_IMAGE = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,")


def _image(where: str, value: Any) -> None:
    """The image itself: LiteLLM would fetch an address itself, from inside, while all other requests wait."""
    if not isinstance(value, str) or not _IMAGE.match(value):
        raise RefusedError(400, f"{where}: expected the image itself, as data:image/…;base64,…", where)


_CALL = {"name": scalar, "arguments": text}
_FUNCTION = {"name": scalar, "description": text, "parameters": schema, "strict": scalar}
_PARTS: Mapping[str, Mapping[str, Check]] = {
    "text": {"type": scalar, "text": text},
    "refusal": {"type": scalar, "refusal": text},
    "image_url": {
        "type": scalar,
        "image_url": lambda where, value: (
            keys({"url": _image, "detail": scalar}) if isinstance(value, dict) else _image
        )(where, value),
    },
}


def _part(where: str, value: Any) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _PARTS:
        raise RefusedError(400, f"{where}.type: expected {', '.join(_PARTS)}", f"{where}.type")
    keys(_PARTS[kind])(where, value)


def _content(where: str, value: Any) -> None:
    (each(_part) if isinstance(value, list) else text)(where, value)


_MESSAGE = keys(
    {
        "role": scalar,
        "content": _content,
        "name": scalar,
        "tool_calls": each(
            keys({"id": scalar, "index": scalar, "type": one_of("function"), "function": keys(_CALL)})
        ),
        "tool_call_id": scalar,
        "function_call": keys(_CALL),
        "refusal": text,
        "reasoning_content": text,
        # Further keys of LiteLLM's answers, for clients that send an answer back as it came.
        "annotations": nothing,
        "audio": nothing,
        "provider_specific_fields": nothing,
    }
)

# Metadata of a call for Langfuse, without its address (https://docs.litellm.ai/docs/proxy/logging).
_LANGFUSE = (
    "generation_id",
    "generation_name",
    "mask_input",
    "mask_output",
    "parent_observation_id",
    "session_id",
    "trace_id",
    "trace_name",
    "trace_release",
    "trace_user_id",
    "trace_version",
    "version",
)
_METADATA: Mapping[str, Check] = {
    **dict.fromkeys(_LANGFUSE, scalar),
    "tags": each(scalar),
    "trace_metadata": keys({}, others=scalar),
}


def _extensions(declared: Declared, caller: Caller) -> Mapping[str, Check]:
    """Harmless keys that LiteLLM accepts in addition to those of OpenAI."""
    return {
        "metadata": keys(_METADATA, others=scalar),
        "tags": each(scalar),
        "cache": keys(
            {
                "use-cache": scalar,
                "no-cache": scalar,
                "no-store": scalar,
                "ttl": number(1, declared.cache_ttl_s),
                "s-maxage": number(0, declared.cache_ttl_s),
            }
        ),
        "num_retries": number(0, RETRIES_LIMIT),
        "timeout": number(0, TIMEOUT_LIMIT_S),
        # LiteLLM itself refuses a model that the team does not have, but does not check fallbacks.
        "fallbacks": each(_model(declared.models & (caller.models or declared.models))),
        "disable_fallbacks": scalar,
        "user": scalar,
    }


def _model(allowed: frozenset[str]) -> Check:
    def check(where: str, value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise RefusedError(400, f"{where}: not the name of a model of this gateway for this key", where)

    return check


_NUMBERS = (
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stream",
    "temperature",
    "top_k",
    "top_p",
)
_SAMPLING: Mapping[str, Check] = {
    **dict.fromkeys(_NUMBERS, scalar),
    "logit_bias": keys({}, others=number(-100, 100)),
    "stop": _text_or_list,
    "stream_options": keys({"include_usage": scalar}),
}


# Without `service_tier` and `web_search_options`: they cost more than LiteLLM 1.63 counts on a budget.
_CHAT_SCALARS = (
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "verbosity",
)


def _chat(declared: Declared, caller: Caller) -> Mapping[str, Check]:
    """https://platform.openai.com/docs/api-reference/chat/create"""
    return {
        **_SAMPLING,
        **_extensions(declared, caller),
        "model": _model(declared.models),
        "messages": each(_MESSAGE),
        "logprobs": scalar,
        "top_logprobs": scalar,
        "reasoning_effort": scalar,
        "parallel_tool_calls": scalar,
        "tools": each(keys({"type": one_of("function"), "function": keys(_FUNCTION)})),
        "tool_choice": either(scalar, keys({"type": one_of("function"), "function": keys({"name": scalar})})),
        "functions": each(keys(_FUNCTION)),
        "function_call": either(scalar, keys({"name": scalar})),
        "response_format": keys({"type": scalar, "json_schema": schema}),
        "prediction": keys({"type": scalar, "content": _content}),
        "modalities": each(scalar),
        "audio": keys({"format": scalar, "voice": scalar}),
        **dict.fromkeys(_CHAT_SCALARS, scalar),
    }


def _completions(declared: Declared, caller: Caller) -> Mapping[str, Check]:
    """https://platform.openai.com/docs/api-reference/completions/create"""
    return {
        **_SAMPLING,
        **_extensions(declared, caller),
        "model": _model(declared.models),
        "prompt": _tokens,
        "suffix": text,
        "echo": scalar,
        "best_of": scalar,
        "logprobs": scalar,
    }


def _embeddings(declared: Declared, caller: Caller) -> Mapping[str, Check]:
    """https://platform.openai.com/docs/api-reference/embeddings/create"""
    return {
        **_extensions(declared, caller),
        "model": _model(declared.models),
        "input": _tokens,
        "encoding_format": scalar,
        "dimensions": scalar,
    }


# What a project may do: call models, and read its own data. Files, batches, assistants … share one account, and a call
# past LiteLLM's models counts on no budget.
_PROJECT = {
    **{
        ("POST", f"{prefix}{path}"): Route(body=body, limit=BODY_LIMIT)
        for prefix in ("", "/v1")
        for path, body in (
            ("/chat/completions", _chat),
            ("/completions", _completions),
            ("/embeddings", _embeddings),
        )
    },
    ("GET", "/models"): Route(),
    ("GET", "/v1/models"): Route(),
    ("GET", "/key/info"): Route(),
    ("GET", "/team/info"): Route(queries=frozenset({"team_id"})),
}


def checked_body(used: Route, declared: Declared, caller: Caller, raw: bytes) -> bytes:
    """A project's body for LiteLLM: parsed once and written anew, so that LiteLLM cannot parse it differently.

    :raises RefusedError: it has something that a project may not send; with the place
    """
    value = parse(raw)
    _rules(used, declared, caller)("", value)
    if "model" not in value:
        raise RefusedError(400, "model: expected the name of a model", "model")
    _own_cache(value, declared, caller)
    _own_metadata(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:  # half a surrogate pair
        raise RefusedError(400, "the body is not JSON in UTF-8") from error


@lru_cache(maxsize=256)
def _rules(used: Route, declared: Declared, caller: Caller) -> Check:
    """The check of a body, made once for each team."""
    if used.body is None:
        raise ValueError("no rules for this body")
    return keys(used.body(declared, caller))


def parse(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 without repeated keys.

    :raises RefusedError: it is not one, or it is built to need much memory
    """
    if sum(map(raw.count, (b",", b":", b"[", b"{"))) > PARTS_LIMIT:
        raise RefusedError(413, "the body has too many parts")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RefusedError(400, f"{twice}: repeated", twice)
    return unique


def _no_number(name: str) -> None:
    raise RefusedError(400, f"{name} is no number of JSON's")


def _own_cache(value: dict[str, Any], declared: Declared, caller: Caller) -> None:
    """Keep the cached answers of each team apart."""
    if isinstance(value.get("cache"), dict):
        value["cache"]["namespace"] = f"{declared.cache_namespace}:{caller.team}"


def _own_metadata(value: dict[str, Any]) -> None:
    """Move a project's own metadata to where LiteLLM only forwards it: keys of `metadata` can be instructions."""
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        own = {name: metadata.pop(name) for name in metadata.keys() - _METADATA.keys()}
        if own:
            metadata["trace_metadata"] = {**own, **(metadata.get("trace_metadata") or {})}


# --- credentials and logs ---------------------------------------------------------------------------------------------

# Headers in which LiteLLM looks for a key, in lower case.
CREDENTIALS = (
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-litellm-api-key",
    "litellm_user_api_key",
    "ocp-apim-subscription-key",
)
# The headers that a project's request keeps. Many others are instructions to LiteLLM: langfuse_…, x-litellm-…,
# Cache-Control.
_FORWARDED = ("host", "accept", "user-agent", "x-request-id")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_KEY = re.compile(r"sk-[A-Za-z0-9_.~+/=-]{1,253}")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def credential(headers: Iterable[tuple[str, str]]) -> str:
    """The one key that a request has; "" without a key.

    :raises RefusedError: several keys that differ, or text that is no key
    """
    found_keys = set()
    for name, value in headers:
        if name in CREDENTIALS:
            scheme, _, rest = value.strip().partition(" ")
            found_keys.add(rest.strip() if scheme.lower() in ("bearer", "basic") else value.strip())
    found_keys.discard("")
    if len(found_keys) > 1:
        raise RefusedError(
            400, "several keys that differ; send one, as the header Authorization: Bearer sk-…"
        )
    for key in found_keys:
        if not _KEY.fullmatch(key):  # LiteLLM would name it in its log
            raise RefusedError(401, "not a key of this gateway")
        return key
    return ""


def headers_for(caller: Kind, headers: Sequence[tuple[str, str]], key: str) -> list[tuple[str, str]]:
    """The headers for LiteLLM, without those about the body, with the key in one place, and without instructions.

    :raises RefusedError: a Host that LiteLLM would take for a path, or a compressed body
    """
    names = [name for name, _ in headers]
    for once in ("host", "content-type", "content-length"):
        if names.count(once) > 1:
            raise RefusedError(400, f"{once}: repeated", once)
    for name, value in headers:
        if name == "host" and not _HOST.fullmatch(value):
            raise RefusedError(400, "host: not the name of a host", "host")
        if name == "content-encoding" and value.strip().lower() not in ("", "identity"):
            raise RefusedError(415, "content-encoding: send the body as it is", "content-encoding")
    about_body = ("content-length", "transfer-encoding", "content-encoding", "expect")
    forwarded = [
        (name, value)
        for name, value in headers
        if name not in CREDENTIALS
        and name not in about_body
        and (caller is not Kind.PROJECT or name in _FORWARDED)
    ]
    return [*forwarded, ("authorization", f"Bearer {key}")] if key else forwarded


def shown(method: str, path: str, words: frozenset[str]) -> str:
    """A request as it appears in a log: only words of LiteLLM's own routes, and no text of the caller.

    :param words: these words
    """
    parts = []
    for part in path.split("/")[1:]:
        if part not in words:
            parts.append("…")
            break
        parts.append(part)
    return f"{method if method in _METHODS else '…'} /{'/'.join(parts)}"
