"""What a single value of a declaration may be. Each type says in words what it expects."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict

from blueprint.model.cron import minutes_of_week
from blueprint.validation import Expected, Matches, Whole, unexpected

REDIS_DATABASES = 16
REDIS_RESERVED = ("default", "admin", "monitor")  # users that are no project's

_MEMORY = re.compile(r"([1-9][0-9]{0,8})([kmg])")
_KIBIBYTES = {"k": 1, "m": 1024, "g": 1024 * 1024}
_MOST_MIB = 4096 * 1024
_IMAGE_NAME = r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*?"
# `latest`, `latest-gpu` and no tag at all follow whatever is pushed next.
_PINNED = re.compile(
    rf"{_IMAGE_NAME}(?::(?!latest(?:-|$))[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}|"
    rf"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?@sha256:[0-9a-f]{{64}})"
)
_GROUPED = r"[a-z0-9_-]+(?:/[a-z0-9_.-]+)+"
_IN_BRACES = re.compile(r"\{([^{}]*)\}")
_PART = "[A-Za-z0-9_][A-Za-z0-9._-]*"
# faster-whisper's sizes that the image knows and that fit beside llama3.1:8b.
_WHISPER_MODELS = ("base", "large-v3-turbo", "medium", "small", "tiny")
# What Postgres keeps for itself; a database or role of such a name would be another's.
_POSTGRES_RESERVED = frozenset(
    {"postgres", "template0", "template1", "pgbouncer", "public", "none", "monitor"}
)
# What the distribution and its packages share: a folder of ours is below one of them.
_SYSTEM_FOLDERS = frozenset(
    f"{above}/{name}"
    for above, names in {
        "": "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var",
        "/etc": "apt cron.d default docker logrotate.d nginx ssh ssl systemd sysctl.d sudoers.d",
        "/usr": "bin include lib lib64 libexec local sbin share src",
        "/usr/local": "bin etc lib sbin share src",
        "/var": "backups cache lib local lock log mail opt run spool tmp",
        "/var/lib": "apt docker dpkg containerd systemd",
    }.items()
    for name in names.split()
)


def mebibytes(memory: str) -> int:
    """MiB of a Docker memory size such as "512m" or "4g"."""
    match = _MEMORY.fullmatch(memory)
    if match is None:
        raise ValueError(f"not a memory size: {memory!r}")
    return int(match[1]) * _KIBIBYTES[match[2]] // 1024


def secret_names(text: str) -> list[str]:
    """Names of the secrets in a `SecretText`."""
    if "{" in text or "}" in text:
        rest = _IN_BRACES.sub("", text)
        return [] if "{" in rest or "}" in rest else _IN_BRACES.findall(text)
    return [text]


def fill(text: str, value: dict[str, str]) -> str:
    """A `SecretText` with the secrets in it.

    :param value: each secret, percent-encoded where `text` is more than its name
    """
    return _IN_BRACES.sub(lambda match: value[match[1]], text) if "{" in text else value[text]


def _where(holds: Callable[[Any], object], words: str = "", remedy: str = "") -> AfterValidator:
    """A further condition. Without words those of the `Expected` that follows stand for it, too."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise unexpected(words, remedy)
        return value

    return AfterValidator(check)


def _names_secrets(text: str) -> bool:
    names = secret_names(text)
    return bool(names) and all(re.fullmatch(_GROUPED, name) for name in names)


# --- numbers

Port = Annotated[int, Whole(1, 65535, "a TCP port")]
Percent = Annotated[int, Whole(1, 100, "%")]
Mebibytes = Annotated[int, Whole(1, 1024 * 1024, "MiB")]
ReservedMebibytes = Annotated[int, Whole(0, 1024 * 1024, "MiB")]
Seconds = Annotated[int, Whole(1, 3600, "seconds")]
Days = Annotated[int, Whole(1, 3650, "days")]
Pids = Annotated[int, Whole(16, 32_768, "processes and threads")]
RedisIndexNumber = Annotated[int, Whole(0, REDIS_DATABASES - 1, "a Redis index")]

# --- names

Name = Annotated[
    str, Matches("[a-z][a-z0-9_-]*", "lower-case letters, digits, - and _, beginning with a letter")
]
# Empty where something has none.
OptionalName = Annotated[
    str, Matches("(?:[a-z][a-z0-9_-]*)?", "lower-case letters, digits, - and _, beginning with a letter")
]
PlainName = Annotated[
    str, Matches("[a-z][a-z0-9-]*", "lower-case letters, digits and -, beginning with a letter")
]
Reason = Annotated[str, Matches("(?s:.+)", "the reason why it needs it")]
SomeText = Annotated[str, Matches(r"(?s:.+)", "some text")]
HostName = Annotated[
    str,
    Matches(
        "[a-z](?:[a-z0-9-]*[a-z0-9])?",
        "a host name: lower-case letters, digits and -, beginning with a letter",
    ),
]
DomainName = Annotated[
    str, Matches(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a domain in lower case")
]
PackageName = Annotated[str, Matches("[a-z0-9][a-z0-9+.-]+", "a package name")]
SecretName = Annotated[str, Matches(_GROUPED, 'the name of a secret ("groq/api_key")')]
SecretText = Annotated[
    str,
    _where(_names_secrets),
    Expected('the name of a secret ("postgres/litellm"), or a text with such names in braces'),
]
# With dots, as Elasticsearch has them.
EnvName = Annotated[str, Matches("[A-Za-z_][A-Za-z0-9_.]*", "the name of an environment variable")]
EnvValue = Annotated[
    str | int,
    _where(lambda value: not set(str(value)) & set("\n\r\0")),
    Expected("one line of text, or a whole number, such as 1 or '1'"),
]
Capability = Annotated[
    str,
    Matches("[A-Z]+(?:_[A-Z]+)*", "capabilities without CAP_, such as NET_BIND_SERVICE"),
    _where(lambda capability: capability != "ALL", "single capabilities"),
]
UserNumbers = Annotated[str, Matches("[0-9]+(?::[0-9]+)?", 'numeric, such as "999:999"')]
PostgresName = Annotated[
    str,
    Matches(
        "[a-z][a-z0-9_]{0,62}",
        "a name of Postgres that needs no quotes: lower-case letters, digits and _, beginning with a letter",
    ),
]
GpuUuid = Annotated[str, Matches("GPU-[0-9a-f]{4}[0-9a-f-]{0,32}", "the uuid of a Gpu")]
ModelTag = Annotated[
    str,
    Matches(
        "[a-z0-9][a-z0-9._/-]*:[a-z0-9][a-z0-9._-]*",
        "a model of Ollama's library with its tag, such as qwen3:8b",
    ),
]
Route = Annotated[str, Matches("[a-z0-9][a-z0-9._-]*", "lower-case letters, digits and ._-")]

# --- sizes, images, sums

MemorySize = Annotated[
    str,
    _where(lambda memory: 1 <= mebibytes(memory) <= _MOST_MIB),
    Expected('a size with its unit k, m or g, such as "512m" or "4g", up to 4096g'),
]
MemoryLimit = Annotated[
    str,
    _where(lambda memory: 6 <= mebibytes(memory) <= _MOST_MIB),  # Docker's own least
    Expected('a size with its unit k, m or g, such as "512m" or "4g", from 6m to 4096g'),
]
ImageReference = Annotated[
    str, _where(_PINNED.fullmatch), Expected("name:tag with a tag that stays the same, never latest")
]
Sha256 = Annotated[str, Matches("[0-9a-f]{64}", "64 lower-case hexadecimal digits")]

# --- paths and addresses

AbsolutePath = Annotated[
    str,
    Matches(
        r"(?:/(?:[A-Za-z0-9_@-][A-Za-z0-9._@-]*|\.[A-Za-z0-9_@-][A-Za-z0-9._@-]*))+",
        "an absolute path of letters, digits and ._@-, with neither . nor .. in it",
    ),
]
OwnPath = Annotated[
    AbsolutePath,
    _where(lambda path: path not in _SYSTEM_FOLDERS, "a path that is no folder of the system's own"),
]
RelativePath = Annotated[
    str,
    Matches(
        f"{_PART}(?:/{_PART})*",
        'a path below the stack\'s folder without . and .., such as "redis/redis.conf"',
    ),
]
StackFile = Annotated[
    RelativePath, _where(lambda path: "/" in path, "a path in a folder", 'such as "redis/redis.conf"')
]
HostPath = Annotated[
    AbsolutePath,
    _where(
        lambda path: not path.endswith("/docker.sock"),
        "another path: with the engine's socket a container is root of the host",
    ),
]
ProjectFolder = Annotated[str, Matches(f"{_PART}(?:/{_PART})*", "a folder of this project")]
OutputPath = Annotated[str, Matches(r"[^\x00-\x1f\x7f]*", "the path of a file")]
UrlPath = Annotated[str, Matches("/[A-Za-z0-9/._~?&=%-]*", "the path of a URL, such as /health")]
HttpsUrl = Annotated[str, Matches(r"https://\S+", "an https:// address")]

# --- several values

Names = Annotated[str | tuple[str, ...], Expected("a name, or a list of names")]
Phases = Annotated[
    str | int | tuple[str | int, ...], Expected("the name or number of a phase, or a list of these")
]
Ports = Annotated[tuple[Port, ...], Expected("a list of ports from 1 to 65535")]
Words = Annotated[
    tuple[str, ...], Strict(False), Expected("a list of words, no text that a shell would have to split")
]

# --- cards and models

PciAddress = Annotated[
    str, Matches(r"[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]", "bus:device.function in lower case, such as 01:00.0")
]
Release = Annotated[str, Matches(r"[0-9]+\.[0-9]+\.[0-9]+", "a release such as 0.15.2")]
ProviderModel = Annotated[
    str, Matches(r"(?:[a-z]+(?:/[A-Za-z0-9._:-]+)+)?", "provider/model, such as openai/gpt-4o")
]
_ONE_OF_WHISPER = f"one of {', '.join(_WHISPER_MODELS)}"
WhisperModel = Annotated[
    str,
    _where(
        lambda model: model != "large-v3",
        _ONE_OF_WHISPER,
        "large-v3 takes 7.6 GB and runs out of memory on an 8 GB card (requirements 4.5): use large-v3-turbo",
    ),
    _where(
        lambda model: model != "distil-large-v3",
        _ONE_OF_WHISPER,
        "distil-large-v3 ignores language=fr on short audio and answers in English (requirements 4.5)",
    ),
    _where(lambda model: model in _WHISPER_MODELS, _ONE_OF_WHISPER),
]
Dollars = Annotated[float, Field(gt=0, le=1_000_000), Expected("dollars above 0")]
Duration = Annotated[str, Matches("[1-9][0-9]*[smhd]", 'a duration such as "30d"')]
AdminRoute = Annotated[str, Matches("(?:/[a-z0-9_]+)+", "a path such as /key/generate")]

# --- monitors: the bounds are Uptime Kuma's own

Interval = Annotated[int, Whole(20, 24 * 24 * 3600, "seconds")]
MonitoredUrl = Annotated[
    str,
    Matches(
        "https?://[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9/._~?&=%-]*)?",
        "a URL without secrets, such as http://litellm:4000/health",
    ),
]
Address = Annotated[str, Matches("[a-z0-9.-]+:[0-9]{1,5}", "host:port")]
RedisLogin = Annotated[
    str,
    Matches(
        r"redis://[A-Za-z0-9_.-]+:\{[a-z0-9_./-]+\}@[a-z0-9.-]+:[0-9]{1,5}",
        'such as "redis://user:{redis/user}@shared-redis:6379", its password a secret in braces',
    ),
]

# --- the system

NetworkName = Annotated[str, Matches("[a-z0-9][a-z0-9_-]*", "a name of lower-case letters, digits, - and _")]
Registry = Annotated[
    str,
    Matches(
        "[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?", "the host name of a registry, such as ghcr.io"
    ),
]
MinimumVersion = Annotated[str, Matches(r"[0-9]+(?:\.[0-9]+){1,2}", 'a version such as "24.0", in quotes')]
Fingerprint = Annotated[str, Matches("[0-9A-F]{40}", "40 upper-case hexadecimal digits")]
LogSize = Annotated[str, Matches("[1-9][0-9]{0,8}[kmg]", 'a size such as "10m"')]
CacheSize = Annotated[str, Matches("[1-9][0-9]{0,8}[KMG]B", 'a size such as "5GB"')]
Network = Annotated[str, _where(ipaddress.ip_network), Expected("a network such as 10.0.0.0/8")]
Limit = Annotated[int, Whole(1, 1_000_000)]
CronSchedule = Annotated[
    str,
    _where(minutes_of_week),
    Expected('five fields of a crontab with * for day and month, such as "0 4 * * 0"'),
]

# --- data

Identifier = Annotated[str, Matches("[a-z][a-z0-9_]*", "lower-case letters, digits and _")]
SqlIdentifier = Annotated[str, Matches("[A-Za-z_][A-Za-z0-9_]{0,62}", "letters, digits and _")]
_NOT_RESERVED = _where(
    lambda name: name not in _POSTGRES_RESERVED, "a name that Postgres does not use itself"
)
OwnRole = Annotated[PostgresName, _NOT_RESERVED]
Administrator = Annotated[str, _NOT_RESERVED]
Extension = Annotated[str, Matches("[a-z][a-z0-9_-]{0,62}", "names of extensions, such as vector")]
SettingName = Annotated[str, Matches("[a-z][a-z0-9_]{0,62}", "names of settings, such as work_mem")]
SchemaFile = Annotated[
    str, Matches(r"files/[a-z0-9_]+/[a-z0-9_]+\.sql", "a file such as files/renov_bati/schema.sql")
]
SqlFile = Annotated[str, Matches(r"files/[A-Za-z0-9._/-]+\.sql", "an SQL file of this project below files/")]
BucketName = Annotated[str, Matches("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket")]
ResticRepository = Annotated[str, Matches(r"\S+", "a repository without spaces")]
ContainerName = Annotated[str, Matches("[a-zA-Z0-9][a-zA-Z0-9_.-]*", "the name of a container")]
RedisUser = Annotated[
    str,
    Matches("[a-z][a-z0-9_-]*", "_"),
    _where(lambda name: name not in REDIS_RESERVED),
    Expected(f"lower-case letters, digits, - and _, and another name than {', '.join(REDIS_RESERVED)}"),
]
# Literal at its beginning, so that two of them can be distinguished.
Channel = Annotated[
    str, Matches(r"[A-Za-z0-9_/.:#-]{2,}\*?", "a name, or its beginning (two characters at least) and a *")
]
RandomBytes = Annotated[int, Whole(16, 1024, "bytes")]

# --- containers

Processors = Annotated[float, Field(ge=0.01, le=1024), Expected("a number of processors such as 1.5")]
TmpfsOptions = Annotated[
    str,
    Matches("(?:[a-z]+=[0-9a-z]+(?:,[a-z]+=[0-9a-z]+)*)?", "options of a tmpfs, such as uid=999,mode=0755"),
]
