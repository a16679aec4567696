"""Projects and key pairs of a Langfuse, in its database: its API makes them only with a licence."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import bcrypt
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.langfuse import ApiKey, Langfuse, LangfuseState
from operations import script
from operations.notices import notice
from operations.postgres_sql import literal, word
from specs.langfuse import TraceProject

# The notes of keys that are ours: a person sees them on Langfuse's page of keys.
OURS = "SourceFast"
# A new pair until the cache has forgotten that there was none, and an old one until it has forgotten that there was.
NEW = f"{OURS}: new"
REMOVED = f"{OURS}: removed "
BCRYPT_ROUNDS = 11


@dataclass(frozen=True)
class LangfuseChange:
    """Statements of one step towards the declared state of the database.

    :param cached: hashes of keys that Langfuse may have cached otherwise
    :param after: statements for when they are forgotten
    """

    description: str
    sql: tuple[str, ...] = field(repr=False)
    cached: tuple[str, ...] = ()
    after: tuple[str, ...] = field(default=(), repr=False)


def quick_hash(secret_key: str, salt: str) -> str:
    """The hash of a secret key in Langfuse (`createShaHash` in its packages/shared/src/server/auth/apiKeys.ts)."""
    inner = hashlib.sha256(salt.encode()).hexdigest()
    return hashlib.sha256((secret_key + inner).encode()).hexdigest()


def difference(
    langfuse: LangfuseState, organisation: str, desired: Iterable[TraceProject], salt: str
) -> list[LangfuseChange]:
    """The changes from the actual to the declared projects and keys; none where they agree.

    Each step can be the last one of a run that dies: the keys' notes say what is still cached.

    :param organisation: id of the one that all of them are in
    :param salt: with which Langfuse hashes keys
    :raises OperationError: for a project that is being deleted
    """
    changes = list[LangfuseChange]()
    if organisation not in langfuse.organisations:
        statement = _sql("INSERT INTO organizations (id, name) VALUES ({}, {})", organisation, organisation)
        changes.append(LangfuseChange(f"organisation {organisation}: made", (statement,)))
    for key in langfuse.keys:
        if (key.note or "").startswith(REMOVED):
            changes.append(_forgotten(key.id, (key.note or "").removeprefix(REMOVED)))
    for project in desired:
        changes += _project_changes(langfuse, organisation, project)
        changes += _key_changes(langfuse, project, quick_hash(project.secret_key, salt))
    return changes


def _project_changes(
    langfuse: LangfuseState, organisation: str, desired: TraceProject
) -> Iterator[LangfuseChange]:
    project = next((project for project in langfuse.projects if project.id == desired.id), None)
    if project is None:
        statement = "INSERT INTO projects (id, name, org_id) VALUES ({}, {}, {})"
        yield LangfuseChange(
            f"project {desired.id}: made", (_sql(statement, desired.id, desired.id, organisation),)
        )
        return
    if project.deleted:
        raise OperationError(
            f"project {desired.id} of Langfuse: found deleted by somebody, and its traces not gone yet; expected it "
            "there, or gone: run again when Langfuse's page shows it no longer, and it is made anew"
        )
    if project.organisation != organisation:
        yield LangfuseChange(
            f"project {desired.id}: in organisation {organisation} instead of {project.organisation}",
            (_sql("UPDATE projects SET org_id = {} WHERE id = {}", organisation, desired.id),),
            cached=tuple(key.hash for key in langfuse.keys if key.project == desired.id and key.hash),
        )


def _key_changes(langfuse: LangfuseState, desired: TraceProject, hashed: str) -> Iterator[LangfuseChange]:
    exists = False
    for key in langfuse.keys:
        note = key.note or ""
        if note.startswith(REMOVED):
            continue
        if (key.public_key, key.hash, key.project) == (desired.public_key, hashed, desired.id):
            exists = True
            if note == NEW:
                yield _known(desired, hashed)
        # What has one of our keys elsewhere, or with another half, was rotated out; so was another that we noted.
        elif desired.public_key == key.public_key or key.hash == hashed or _is_ours(key, desired.id):
            yield _removed(key)
    if not exists:
        known = _known(desired, hashed)
        yield LangfuseChange(
            f"keys of {desired.id}: made", (_insertion(desired, hashed),), known.cached, known.after
        )


def _is_ours(key: ApiKey, project: str) -> bool:
    return key.project == project and key.note in (OURS, NEW)


def _insertion(desired: TraceProject, hashed: str) -> str:
    """As Langfuse's `createAndAddApiKeysToDb` does it."""
    return _sql(
        "INSERT INTO api_keys (id, note, public_key, hashed_secret_key, fast_hashed_secret_key, "
        "display_secret_key, project_id) VALUES ({}, {}, {}, {}, {}, {}, {})",
        f"c{secrets.token_hex(12)}",
        NEW,
        desired.public_key,
        bcrypt.hashpw(desired.secret_key.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode(),
        hashed,
        f"{desired.secret_key[:6]}...{desired.secret_key[-4:]}",
        desired.id,
    )


def _known(desired: TraceProject, hashed: str) -> LangfuseChange:
    """A new pair that the cache may still know as missing."""
    statement = _sql("UPDATE api_keys SET note = {} WHERE fast_hashed_secret_key = {}", OURS, hashed)
    return LangfuseChange(f"keys of {desired.id}: known", (), (hashed,), (statement,))


def _removed(key: ApiKey) -> LangfuseChange:
    """A pair that is no longer valid. Its row stays until the cache has dropped it."""
    statement = _sql(
        "UPDATE api_keys SET public_key = id, hashed_secret_key = id, fast_hashed_secret_key = NULL, note = {} "
        "WHERE id = {}",
        *(REMOVED + (key.hash or ""), key.id),
    )
    forgotten = _forgotten(key.id, key.hash or "")
    return LangfuseChange(
        f"keys {key.public_key}: out of use", (statement,), forgotten.cached, forgotten.after
    )


def _forgotten(number: str, hashed: str) -> LangfuseChange:
    statement = _sql("DELETE FROM api_keys WHERE id = {}", number)
    return LangfuseChange(f"keys {number}: removed", (), (hashed,) if hashed else (), (statement,))


def _sql(statement: str, *texts: str) -> str:
    """A statement with texts in the place of its {}."""
    return statement.format(*map(literal, texts))


def payload(changes: Sequence[LangfuseChange]) -> str:
    """The input of files/langfuse/apply.sh: a transaction, cache entries to delete, and another transaction."""
    first = [line for change in changes for line in (*change.sql, f"\\echo {word(change.description)}")]
    return "\n".join(
        [
            "BEGIN;",
            *(line if line.startswith("\\") else f"{line};" for line in first),
            "COMMIT;",
            f"-- cached {' '.join(hashed for change in changes for hashed in change.cached)}".rstrip(),
            "BEGIN;",
            *(f"{statement};" for change in changes for statement in change.after),
            "COMMIT;",
            "",
        ]
    )


@operation()
def projects(
    container: str,
    postgres: str,
    redis: str,
    redis_user: str,
    redis_password_file: str,
    redis_index: int,
    organisation: str,
    desired: Sequence[TraceProject],
    salt: str,
) -> Generator[StringCommand, None, None]:
    """Create each project in Langfuse, and give its key pair the declared values.

    A pair whose public or secret key changed is replaced: the old one is refused from then on, as Langfuse's cache
    forgets it, too. No project is ever removed, and no pair that a person made.

    + container: of Langfuse's web server, whose login is used
    + postgres: container of its Postgres
    + redis: container of its Redis
    + redis_user: user who may delete what is in there
    + redis_password_file: file in that container with the user's password
    + redis_index: where Langfuse caches keys
    + organisation: id of the one that all projects are in
    + desired: the projects; another project's traces are none of theirs
    + salt: with which Langfuse hashes keys

    Raises `OperationValueError` for keys that Langfuse's clients would not take.
    """
    for project in desired:
        if not project.public_key.startswith("pk-lf-") or not project.secret_key.startswith("sk-lf-"):
            raise OperationValueError(f"the keys of {project.id} have to begin with pk-lf- and sk-lf-")
    # The run that is being prepared may be the one that brings it.
    langfuse: LangfuseState = cached_fact(Langfuse, container=container, postgres=postgres)
    if not langfuse.answers and state.is_executing:
        raise OperationError(
            f"{container}: found {langfuse.reason}, expected its projects: docker logs --tail 20 {container}"
        )
    changes = difference(langfuse, organisation, desired, salt)
    if not changes:
        host.noop("every project of Langfuse and its keys are as declared")
        return
    yield script.run(
        "langfuse/apply.sh",
        *(container, postgres, redis, redis_user, redis_password_file, redis_index),
        payload=payload(changes),
        stream=True,
    )


@notice
def warn_undeclared(
    container: str,
    postgres: str,
    organisation: str,
    projects: Sequence[str],
    public_keys: Sequence[str],
    owner: str,
) -> Iterable[str]:
    """Name what others have added to Langfuse. Nothing of it is changed.

    + container: of Langfuse's web server
    + postgres: container of its Postgres
    + organisation: id of ours
    + projects: ids of all declared projects, whether the host has them yet or not
    + public_keys: of all declared key pairs
    + owner: e-mail address of the declared owner
    """
    langfuse: LangfuseState = cached_fact(Langfuse, container=container, postgres=postgres)
    if not langfuse.answers:
        return [f"{container}: {langfuse.reason}; what others have added to it is not known"]
    return undeclared(langfuse, organisation, projects, public_keys, owner)


def undeclared(
    langfuse: LangfuseState,
    organisation: str,
    projects: Sequence[str],
    public_keys: Sequence[str],
    owner: str,
) -> Iterator[str]:
    """A sentence for each kind of undeclared object. Arguments as of `warn_undeclared`."""
    members = (
        f"{member.email} ({member.role} of {member.project or member.organisation})"
        for member in langfuse.members
        if (member.email, member.role, member.organisation, member.project)
        != (owner, "OWNER", organisation, None)
    )
    keys = (
        f"{key.public_key} (of {key.project or key.organisation})"
        for key in langfuse.keys
        if key.public_key not in public_keys and not (key.note or "").startswith(REMOVED)
    )
    found = {
        "organisations": sorted(langfuse.organisations - {organisation}),
        "projects": sorted(
            one.id if one.id == one.name else f"{one.id} ({one.name})"
            for one in langfuse.projects
            if one.id not in projects
        ),
        "keys": sorted(keys),
        "members": sorted(members),
        "administrators": sorted(langfuse.administrators),
    }
    for kind, names in found.items():
        if names:
            yield (
                f"{kind} of Langfuse that are not declared: {', '.join(names)}; left alone, "
                "remove them on its page where nobody needs them"
            )
