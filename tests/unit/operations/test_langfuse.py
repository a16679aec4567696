"""Projects and keys of Langfuse: the difference over a database, cut short anywhere, and the scripts that make it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError, OperationValueError

from blueprint.langfuse import initial, problems
from facts.langfuse import ApiKey, Langfuse, LangfuseState, Member, ProjectState, read_langfuse
from operations import langfuse
from operations.langfuse import OURS, REMOVED, LangfuseChange, difference, quick_hash, undeclared
from specs.langfuse import TraceProject
from tests.unit.declared import declared
from tests.unit.hosts import commands, scripted_host
from tests.unit.paths import CHECKOUT

ORGANISATION, SALT = "house", "salt"
SHOP = TraceProject("shop", "pk-lf-shop", "sk-lf-shop-secret")
CLUB = TraceProject("club", "pk-lf-club", "sk-lf-club-secret")
ARGUMENTS: dict[str, Any] = {
    "container": "langfuse-web",
    "postgres": "shared-postgres",
    "redis": "shared-redis",
    "redis_user": "admin",
    "redis_password_file": "/etc/redis/admin.password",
    "redis_index": 4,
    "organisation": ORGANISATION,
    "salt": SALT,
}
TABLES = """
PRAGMA foreign_keys = ON;
CREATE TABLE organizations (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE projects (id TEXT PRIMARY KEY, name TEXT NOT NULL, org_id TEXT NOT NULL REFERENCES organizations (id));
CREATE TABLE api_keys (id TEXT PRIMARY KEY, note TEXT, public_key TEXT NOT NULL UNIQUE,
    hashed_secret_key TEXT NOT NULL UNIQUE, fast_hashed_secret_key TEXT UNIQUE, display_secret_key TEXT NOT NULL,
    project_id TEXT REFERENCES projects (id));
"""


@dataclass
class Server:
    """A Langfuse: its database, and the hashes that its cache believes in, known or unknown."""

    database: sqlite3.Connection
    cache: dict[str, bool] = field(default_factory=dict)

    def state(self) -> LangfuseState:
        def rows(statement: str) -> list[tuple[Any, ...]]:
            return self.database.execute(statement).fetchall()

        keys = rows(
            "SELECT id, public_key, fast_hashed_secret_key, note, project_id FROM api_keys ORDER BY rowid"
        )
        return LangfuseState(
            answers=True,
            organisations=frozenset(row[0] for row in rows("SELECT id FROM organizations")),
            projects=tuple(ProjectState(*row) for row in rows("SELECT id, name, org_id FROM projects")),
            keys=tuple(ApiKey(*row) for row in keys),
        )

    def apply(self, changes: list[LangfuseChange], steps: int = 3) -> None:
        """As files/langfuse/apply.sh does it, which may end after a step."""
        if steps > 0:
            with self.database:
                for statement in (one for change in changes for one in change.sql):
                    self.database.execute(statement)
        if steps > 1:
            for hashed in (one for change in changes for one in change.cached):
                self.cache.pop(hashed, None)
        if steps > 2:
            with self.database:
                for statement in (one for change in changes for one in change.after):
                    self.database.execute(statement)

    def opens(self, secret: str) -> str | None:
        """The project that a secret key opens, as Langfuse answers it and keeps it."""
        hashed = quick_hash(secret, SALT)
        found = self.database.execute(
            "SELECT project_id FROM api_keys WHERE fast_hashed_secret_key = ?", (hashed,)
        ).fetchone()
        if not self.cache.setdefault(hashed, found is not None):
            return None
        return str(found[0]) if found else "believed to be there"


@pytest.fixture(autouse=True)
def quick_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hash with the fewest rounds that bcrypt takes: Langfuse's take these tests ten times as long."""
    assert langfuse.BCRYPT_ROUNDS == 11
    monkeypatch.setattr(langfuse, "BCRYPT_ROUNDS", 4)


@pytest.fixture
def server() -> Iterator[Server]:
    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    yield Server(database)
    database.close()


def applied(server: Server, *desired: TraceProject) -> Server:
    server.apply(difference(server.state(), ORGANISATION, desired, SALT))
    return server


def test_a_secret_is_hashed_as_langfuse_hashes_it() -> None:
    # node's crypto, over the lines of packages/shared/src/server/auth/apiKeys.ts
    vector = "ed6818ada09bdad405a74ac72773dde1708dd3fc6fe8bb81b59927400419d227"
    assert quick_hash("sk-lf-1234567890", "salt") == vector


def test_each_project_is_made_with_its_pair_and_then_nothing(server: Server) -> None:
    applied(server, SHOP, CLUB)
    assert difference(server.state(), ORGANISATION, [SHOP, CLUB], SALT) == []
    assert [server.opens(one.secret_key) for one in (SHOP, CLUB)] == ["shop", "club"]
    found = server.database.execute("SELECT * FROM api_keys WHERE project_id = 'shop'").fetchone()
    assert (found[1], found[2], found[5]) == (OURS, "pk-lf-shop", "sk-lf-...cret")
    assert bcrypt.checkpw(SHOP.secret_key.encode(), found[3].encode())
    assert "secret" not in repr(SHOP)


@pytest.mark.parametrize(
    "rotated",
    [
        {"secret_key": "sk-lf-another"},
        {"public_key": "pk-lf-another"},
        {"public_key": "pk-lf-another", "secret_key": "sk-lf-another"},
    ],
    ids=["secret", "public", "both"],
)
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_rotated_pair_takes_the_place_of_the_old_one_wherever_a_run_dies(
    server: Server, rotated: dict[str, str], steps: int
) -> None:
    applied(server, SHOP, CLUB)
    desired = replace(SHOP, **rotated)
    # Both are in use meanwhile, and so in the cache: the old one as known, the new one as unknown.
    assert (server.opens(SHOP.secret_key), server.opens(CLUB.secret_key)) == ("shop", "club")
    server.opens(desired.secret_key)
    server.apply(difference(server.state(), ORGANISATION, [desired, CLUB], SALT), steps)
    server.opens(SHOP.secret_key)
    server.opens(desired.secret_key)
    applied(server, desired, CLUB)
    assert (server.opens(desired.secret_key), server.opens(CLUB.secret_key)) == ("shop", "club")
    if desired.secret_key != SHOP.secret_key:
        assert server.opens(SHOP.secret_key) is None
    assert difference(server.state(), ORGANISATION, [desired, CLUB], SALT) == []
    assert sorted(key.public_key for key in server.state().keys) == sorted([desired.public_key, "pk-lf-club"])


def test_what_a_person_added_is_named_and_left_alone(server: Server) -> None:
    applied(server, SHOP)
    server.database.executescript(
        "INSERT INTO organizations VALUES ('theirs', 'Theirs');"
        "INSERT INTO projects VALUES ('trial', 'A trial', 'theirs');"
        "INSERT INTO api_keys VALUES ('k', 'mine', 'pk-lf-mine', 'x', 'y', 'z', 'shop')"
    )
    assert difference(server.state(), ORGANISATION, [SHOP], SALT) == []
    owner = Member("owner@x", "OWNER", ORGANISATION)
    members = (
        owner,
        Member("guest@x", "VIEWER", ORGANISATION),
        Member("guest@x", "ADMIN", ORGANISATION, "shop"),
    )
    state = replace(server.state(), members=members, administrators=("guest@x",))
    reported = list(undeclared(state, ORGANISATION, ["shop"], [SHOP.public_key], "owner@x"))
    assert [sentence.partition("; left alone")[0] for sentence in reported] == [
        "organisations of Langfuse that are not declared: theirs",
        "projects of Langfuse that are not declared: trial (A trial)",
        "keys of Langfuse that are not declared: pk-lf-mine (of shop)",
        "members of Langfuse that are not declared: guest@x (ADMIN of shop), guest@x (VIEWER of house)",
        "administrators of Langfuse that are not declared: guest@x",
    ]
    assert list(undeclared(applied(server, SHOP).state(), "house", ["shop", "trial"], [], "")) != []


def test_a_project_that_is_no_longer_declared_is_named_and_keeps_its_pair(server: Server) -> None:
    applied(server, SHOP, CLUB)
    assert difference(server.state(), ORGANISATION, [SHOP], SALT) == []
    reported = list(undeclared(server.state(), ORGANISATION, ["shop"], [SHOP.public_key], "owner@x"))
    assert [sentence.partition(" of Langfuse")[0] for sentence in reported] == ["projects", "keys"]
    assert server.opens(CLUB.secret_key) == "club"


def test_a_pair_that_opens_another_project_is_put_back(server: Server) -> None:
    applied(server, SHOP, CLUB)
    with server.database:
        server.database.execute("UPDATE api_keys SET project_id = 'club' WHERE public_key = 'pk-lf-shop'")
    assert server.opens(SHOP.secret_key) == "club"
    assert applied(server, SHOP, CLUB).opens(SHOP.secret_key) == "shop"


def test_a_project_in_another_organisation_is_put_back(server: Server) -> None:
    applied(server, SHOP)
    with server.database:
        server.database.execute("INSERT INTO organizations VALUES ('theirs', 'Theirs')")
        server.database.execute("UPDATE projects SET org_id = 'theirs'")
    [change] = difference(server.state(), ORGANISATION, [SHOP], SALT)
    assert change.description == "project shop: in organisation house instead of theirs"
    assert change.cached == (quick_hash(SHOP.secret_key, SALT),)
    assert difference(applied(server, SHOP).state(), ORGANISATION, [SHOP], SALT) == []


def test_a_project_that_somebody_is_deleting_is_not_filled_again(server: Server) -> None:
    state = applied(server, SHOP).state()
    state = replace(state, projects=(replace(state.projects[0], deleted=True),))
    with pytest.raises(OperationError, match="project shop of Langfuse: found deleted by somebody"):
        difference(state, ORGANISATION, [SHOP], SALT)


def test_the_pair_that_langfuse_made_at_its_start_is_taken_as_it_is() -> None:
    state = LangfuseState(
        answers=True,
        organisations=frozenset({ORGANISATION}),
        projects=(ProjectState("shop", "Provisioned Project", ORGANISATION),),
        keys=(ApiKey("k", "pk-lf-shop", quick_hash(SHOP.secret_key, SALT), "Provisioned API Key", "shop"),),
    )
    assert difference(state, ORGANISATION, [SHOP], SALT) == []


# --- the operation and its scripts


def test_one_script_gets_everything_and_shows_nothing() -> None:
    [command] = commands(
        langfuse.projects, {Langfuse: LangfuseState(answers=True)}, desired=[SHOP], **ARGUMENTS
    )
    hashed = quick_hash(SHOP.secret_key, SALT)
    lines = command.payload.splitlines()
    assert lines[0] == lines[lines.index(f"-- cached {hashed}") + 1] == "BEGIN;"
    assert lines[-1] == "COMMIT;"
    assert hashed not in command.get_raw_value() and SHOP.secret_key not in command.payload


def test_keys_that_clients_refuse_are_refused() -> None:
    for wrong in (TraceProject("shop", "sk-lf-x", "sk-lf-x"), TraceProject("shop", "pk-lf-x", "x")):
        with pytest.raises(OperationValueError, match="pk-lf- and sk-lf-"):
            commands(langfuse.projects, {}, desired=[wrong], **ARGUMENTS)


def test_a_langfuse_that_does_not_run_yet_is_one_to_be_filled_and_later_a_mistake() -> None:
    with scripted_host({Langfuse: LangfuseState()}, executing=False):
        assert list(langfuse.projects._inner(desired=[SHOP], **ARGUMENTS))
    with scripted_host({Langfuse: LangfuseState()}), pytest.raises(OperationError, match="none that runs"):
        list(langfuse.projects._inner(desired=[SHOP], **ARGUMENTS))


def test_a_langfuse_that_does_not_answer_ends_no_run_that_only_looks() -> None:
    arguments = {key: ARGUMENTS[key] for key in ("container", "postgres", "organisation")}
    arguments |= {"projects": [], "public_keys": [], "owner": "owner@x"}
    with scripted_host({Langfuse: LangfuseState(reason="psql: gone")}) as host:
        list(langfuse.warn_undeclared._inner(**arguments))
    assert host.logged == ["langfuse-web: psql: gone; what others have added to it is not known"]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A folder with a `docker` that knows a container's environment, and records the input of others."""
    (tmp_path / "docker").write_text(
        """#!/bin/bash
        here=$(dirname "$0")
        if [ "$1" = inspect ]; then
            [[ $* != *Running* ]] || cat "$here/running"
            printf '%s\\n' SALT=s 'DATABASE_URL=postgresql://lf:p%40ss@postgres:5432/lf?connection_limit=3'
            exit
        fi
        echo "$*" >>"$here/arguments"
        [[ $* = *psql* ]] || exec cat "$here/forgotten"
        cat >>"$here/input"
        cat "$here/answer"
        [ ! -e "$here/fails" ]
        """
    )
    (tmp_path / "docker").chmod(0o755)
    for name, content in {"running": "true\n", "answer": "", "forgotten": "2\n"}.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def environment(engine: Path) -> dict[str, str]:
    return os.environ | {"PATH": f"{engine}:/usr/bin:/bin"}


def test_the_fact_asks_with_langfuse_s_own_login(engine: Path) -> None:
    (engine / "answer").write_text(
        '{"organisations": ["house"], "projects": [{"id": "a", "name": "A", "organisation": "house", "deleted": true}],'
        ' "keys": [{"id": "k", "public_key": "pk", "hash": null, "note": null, "project": "a", "organisation": null}],'
        ' "members": [{"email": "e", "role": "OWNER", "organisation": "house", "project": null}],'
        ' "administrators": []}\n'
    )
    command = Langfuse().command("langfuse-web", "shared-postgres").get_raw_value()
    run = {"capture_output": True, "text": True, "env": environment(engine)}
    done = subprocess.run(["sh", "-c", command], check=True, **run)  # type: ignore[call-overload]
    state = Langfuse().process(done.stdout.splitlines())
    assert state.answers and state.projects == (ProjectState("a", "A", "house", True),)
    assert state.keys[0].hash is None and state.members == (Member("e", "OWNER", "house"),)
    assert (
        (engine / "input")
        .read_text()
        .startswith("\\connect 'postgresql://lf:p%40ss@postgres:5432/lf'\nSELECT")
    )
    assert "p%40ss" not in (engine / "arguments").read_text()
    (engine / "running").write_text("false\n")
    done = subprocess.run(["sh", "-c", command], check=True, **run)  # type: ignore[call-overload]
    assert Langfuse().process(done.stdout.splitlines()) == Langfuse.default()
    with pytest.raises(FactProcessError, match="not an answer"):
        read_langfuse(["{"])
    (engine / "running").write_text("true\n")
    (engine / "answer").write_text("psql: error: too many connections\n")
    (engine / "fails").touch()
    (engine / "arguments").unlink()
    done = subprocess.run(["sh", "-c", command], check=True, **run)  # type: ignore[call-overload]
    state = Langfuse().process(done.stdout.splitlines())
    assert (state.answers, state.reason) == (False, "psql: error: too many connections")
    assert len((engine / "arguments").read_text().splitlines()) == 3  # asked again, as a client would


def apply(engine: Path, changes: list[LangfuseChange]) -> subprocess.CompletedProcess[str]:
    script = CHECKOUT / "files/langfuse/apply.sh"
    arguments = ("langfuse-web", "shared-postgres", "shared-redis", "admin", "/etc/redis/admin.password", "4")
    return subprocess.run(
        ["bash", str(script), *arguments],
        input=langfuse.payload(changes),
        capture_output=True,
        text=True,
        check=False,
        env=environment(engine),
    )


def test_the_cache_forgets_between_the_two_transactions(engine: Path) -> None:
    changes = [
        LangfuseChange("first", ("A",), ("h1",), ("B",)),
        LangfuseChange("it's second", ("C",), ("h2",), ("D",)),
    ]
    assert apply(engine, changes).returncode == 0
    connect = "\\connect 'postgresql://lf:p%40ss@postgres:5432/lf'"
    assert (engine / "input").read_text().split("\n") == [
        *(connect, "BEGIN;", "A;", "\\echo 'first'", "C;", "\\echo 'it''s second'", "COMMIT;", ""),
        *(connect, "BEGIN;", "B;", "D;", "COMMIT;", ""),
    ]
    first, *forgotten, second = (engine / "arguments").read_text().splitlines()
    assert first == second and "psql" in first
    assert forgotten[-1].endswith("admin 4 api-key:h1 api-key:h2")


def test_what_the_cache_did_not_forget_is_forgotten_by_the_next_run(engine: Path) -> None:
    (engine / "forgotten").write_text("NOPERM\n")
    done = apply(engine, [LangfuseChange("first", ("A",), ("h1",), ("B",))])
    assert done.returncode == 1 and "found NOPERM, expected them deleted" in done.stderr
    assert "B;" not in (engine / "input").read_text()


def test_without_anything_cached_no_redis_is_asked(engine: Path) -> None:
    assert apply(engine, [LangfuseChange("project", ("A",))]).returncode == 0
    assert "redis" not in (engine / "arguments").read_text()
    assert REMOVED.startswith(OURS)


# --- what is declared


def test_langfuse_s_first_project_is_the_one_that_its_container_makes() -> None:
    first = initial(declared().shared_stacks)
    assert (first.organisation, first.project, first.owner) == (
        "sourcefast",
        "sourcefast",
        "admin@augmenter.pro",
    )
    assert (first.keys.secret, first.salt, first.redis_index) == ("langfuse/secret_key", "langfuse/salt", 4)


def contradictions(**fields: Any) -> list[str]:
    """What is wrong where Langfuse's container is declared otherwise."""
    stacks = [
        replace(
            stack,
            services=tuple(
                replace(one, **fields) if one.name == "langfuse-web" else one for one in stack.services
            ),
        )
        for stack in declared().shared_stacks
    ]
    return [str(problem) for problem in problems(stacks, declared().projects, "shared.py")]


def test_a_first_project_that_is_not_whole_is_refused_and_so_is_one_of_ours_in_it() -> None:
    (service,) = (
        one for stack in declared().shared_stacks for one in stack.services if one.name == "langfuse-web"
    )
    assert contradictions() == []
    (problem,) = contradictions(env={}, generated_secrets={})
    assert "without LANGFUSE_INIT_ORG_ID, LANGFUSE_INIT_PROJECT_ID" in problem and "SALT" in problem
    (problem,) = contradictions(redis=(), redis_user=None)
    assert "where Langfuse caches keys" in problem
    (problem,) = contradictions(env={**service.env, "LANGFUSE_INIT_PROJECT_ID": "voicejury"})
    assert "voicejury.name is 'voicejury', but must be another name" in problem


def test_no_two_projects_share_a_pair() -> None:
    blueprint = declared()
    pairs = [project.trace_keys for project in blueprint.projects]
    names = {name for pair in (*pairs, initial(blueprint.shared_stacks).keys) for name in pair}
    assert len(names) == 2 * (len(pairs) + 1)
    for project in blueprint.projects:
        for service in next(one for one in blueprint.stacks if one.name == project.name).services:
            used = {name for name in service.secrets_used if name.startswith("langfuse/")}
            assert used <= set(project.trace_keys)
