"""Secrets that cannot be made anew: a run that would make another is refused, with the place of the one there is."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from blueprint import DeclarationError, Secrets, Violation
from blueprint.model import Restic
from blueprint.rotation import rotate
from blueprint.secret_places import Place, places, problems
from facts.written_values import WrittenValues
from phases import phases_of, preflight, requirements
from tests.unit.declared import declared
from tests.unit.hosts import scripted_host

BLUEPRINT = declared("i7_9700k")
APPLIED = ("hardware", "litellm", "monitoring", "augmenter")
SALT = ("/opt/sourcefast/litellm/litellm-proxy.env", "LITELLM_SALT_KEY")


def by_name(blueprint: object = None) -> dict[str, Place]:
    return {place.secret.name: place for place in places(BLUEPRINT)}


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """An environment with all of them."""
    kept = Secrets.open("production", tmp_path, {})
    for place in places(BLUEPRINT):
        kept.generated(place.secret.name, place.secret.make)
    return kept


def on_host(secrets: Secrets) -> dict[tuple[str, str], str]:
    """A host that was given these secrets."""
    return {
        (place.path, place.variable): hashlib.sha256(
            place.rendered(secrets.provided(place.secret.name)).encode()
        ).hexdigest()
        for place in places(BLUEPRINT)
        if place.path
    }


def found(
    secrets: Secrets, written: Mapping[tuple[str, str], str], applied: tuple[str, ...] = APPLIED
) -> dict[str, Violation]:
    return {one.key: one for one in problems(places(BLUEPRINT), written, secrets, applied)}


def without(secrets: Secrets, *names: str) -> Secrets:
    for name in names:
        secrets.forget(name)
    return secrets


def test_every_secret_that_cannot_be_rotated_has_its_place() -> None:
    known = by_name()
    blocked = {form.name for form in BLUEPRINT.secret_formats if form.rotation_blocked_by}
    assert known.keys() == blocked - {"restic/password"}  # the copy elsewhere is not declared
    assert str(known["litellm/salt_key"]) == "LITELLM_SALT_KEY in /opt/sourcefast/litellm/litellm-proxy.env"
    assert [name for name, place in known.items() if not place.path] == ["uptime_kuma/password"]
    assert all(place.whole for place in known.values())


def test_that_of_the_copies_elsewhere_has_a_file_of_its_own() -> None:
    restic = Restic(repository="sftp:somewhere:/x")
    blueprint = replace(BLUEPRINT, backups=replace(BLUEPRINT.backups, restic=restic))
    (place,) = (one for one in places(blueprint) if one.secret.name == "restic/password")
    assert (str(place), place.rendered("x")) == ("/etc/sourcefast/restic-password", "x")


def test_the_secrets_of_the_host_are_fine(secrets: Secrets) -> None:
    assert found(secrets, on_host(secrets)) == {}
    assert found(secrets, {}) == {}


@pytest.mark.parametrize("how", ["gone", "empty", "blank", "null"])
@pytest.mark.parametrize("applied", [APPLIED, ("hardware",)], ids=["recorded", "half-way"])
def test_one_that_is_missing_is_refused_with_its_place(
    secrets: Secrets, tmp_path: Path, how: str, applied: tuple[str, ...]
) -> None:
    written = on_host(secrets)
    value = secrets.provided("litellm/salt_key")
    file = tmp_path / "production.yaml"
    put = {"gone": "", "empty": '  salt_key: ""\n', "blank": '  salt_key: "  "\n', "null": "  salt_key:\n"}[
        how
    ]
    file.write_text(file.read_text().replace(f"  salt_key: {value}\n", put))
    (problem,) = found(Secrets.open("production", tmp_path, {}), written, applied).values()
    assert (problem.key, problem.found) == ("litellm/salt_key", "missing")
    assert (
        problem.expected
        == "the one that the host has (LiteLLM has encrypted what is in its database with it)"
    )
    assert problem.remedy == (
        "bring the file from where the last run was; or take LITELLM_SALT_KEY in "
        '/opt/sourcefast/litellm/litellm-proxy.env on the host, and write it there as salt_key: "…", below litellm:'
    )
    assert value not in str(problem)


def test_another_one_than_the_host_has_is_refused(secrets: Secrets) -> None:
    written = on_host(secrets)
    old = secrets.provided("litellm/salt_key")
    without(secrets, "litellm/salt_key").generated("litellm/salt_key", lambda: "sk-another")
    (problem,) = found(secrets, written).values()
    assert (problem.key, problem.found) == ("litellm/salt_key", "another than the host has")
    assert "take LITELLM_SALT_KEY in" in problem.remedy
    assert old not in str(problem) and "sk-another" not in str(problem)


def test_one_that_a_person_changed_where_it_is_used_may_differ(secrets: Secrets) -> None:
    written = on_host(secrets)
    without(secrets, "langfuse/admin_password").generated("langfuse/admin_password", lambda: "by hand")
    assert found(secrets, written) == {}
    assert list(found(without(secrets, "langfuse/admin_password"), written)) == ["langfuse/admin_password"]


def test_one_of_a_new_container_is_made(secrets: Secrets) -> None:
    written = on_host(secrets)
    del written[SALT]
    assert found(without(secrets, "litellm/salt_key"), written) == {}


def test_one_that_would_lock_us_out_is_refused_though_no_file_has_it(secrets: Secrets) -> None:
    written = on_host(secrets)
    without(secrets, "uptime_kuma/password")
    (problem,) = found(secrets, written).values()
    assert "npm run reset-password" in problem.remedy
    assert found(secrets, written, ("hardware", "litellm")) == {}


def test_a_whole_file_that_is_missing_is_refused_for_each(secrets: Secrets, tmp_path: Path) -> None:
    written = on_host(secrets)
    (tmp_path / "production.yaml").unlink()
    nothing = Secrets.open("production", tmp_path, {})
    assert found(nothing, written).keys() == by_name().keys()
    # The host has lost all of it, and had them.
    assert found(nothing, {}).keys() == by_name().keys()
    assert found(nothing, {})["litellm/salt_key"].remedy == "bring the file from where the last run was"
    assert found(nothing, {}, ("hardware",)) == {}


def test_a_run_asks_the_host_and_reports_it_with_the_rest(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "unfit", lambda blueprint: ())
    written = on_host(secrets)
    without(secrets, "langfuse/salt")
    with scripted_host({WrittenValues: written}) as host:
        whats = [
            one.what
            for one in requirements.unmet_requirements(BLUEPRINT, phases_of(BLUEPRINT), secrets, APPLIED)
        ]
    ((asked,),) = (arguments.values() for arguments in host.asked)
    assert f"{secrets.file}: langfuse/salt" in whats and f"{secrets.file}: groq/api_key" in whats
    assert SALT in asked and ("", "") not in asked


def test_none_of_them_is_rotated_but_the_pairs_of_langfuse_are(secrets: Secrets) -> None:
    for name in by_name():
        with pytest.raises(DeclarationError, match="one that stays"):
            rotate(name, BLUEPRINT, secrets)
    for name in ("langfuse/secret_key", "langfuse/keys/voicejury/secret", "langfuse/keys/voicejury/public"):
        secrets.generated(name)
        rotate(name, BLUEPRINT, secrets)
        assert not secrets.has(name)


def test_a_section_without_lines_takes_new_ones(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("redis:\n")
    (tmp_path / "lab.yaml").chmod(0o600)
    assert Secrets.open("lab", tmp_path, {}).generated("redis/litellm")


def test_the_fact_returns_hashes_of_what_exists(tmp_path: Path) -> None:
    file, alone, gone = (str(tmp_path / name) for name in ("web.env", "alone", "gone"))
    Path(file).write_text("SALT=old\nEMPTY=''\nSALTED=x\nSALT=a=b\n")
    Path(alone).write_text("word\nmore\n")
    asked = [(file, "SALT"), (file, "EMPTY"), (file, "NONE"), (alone, ""), (gone, "SALT"), (gone, "")]
    command = WrittenValues().command(asked).get_raw_value()
    done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    assert WrittenValues().process(done.stdout.splitlines()) == {
        (file, "SALT"): hashlib.sha256(b"a=b").hexdigest(),
        (alone, ""): hashlib.sha256(b"word").hexdigest(),
    }
