"""Secrets: made once, kept privately, never shown."""

from __future__ import annotations

import multiprocessing
import stat
import string
import sys
from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # a binding without stubs
import pytest
import yaml

from blueprint import DeclarationError, Secrets, rotation
from blueprint.model import BackupPolicy, Restic
from blueprint.rotation import rotatable, rotate
from blueprint.secrets import Secret
from tests.unit.declared import declared

TOKEN = "123456:a-token-of-the-owner"  # noqa: S105 - made up


def provide(folder: Path, text: str, mode: int = 0o600) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "lab.yaml").write_text(text)
    (folder / "lab.yaml").chmod(mode)


def opened(folder: Path, **variables: str) -> Secrets:
    return Secrets.open("lab", folder, variables)


def refused(folder: Path, **variables: str) -> str:
    with pytest.raises(DeclarationError) as error:
        opened(folder, **variables)
    return str(error.value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_generated_secret_is_made_once(tmp_path: Path) -> None:
    first = opened(tmp_path / "s").generated("postgres/litellm")
    assert len(first) >= 32
    assert set(first) <= set(string.ascii_letters + string.digits + "-_")
    assert opened(tmp_path / "s").generated("postgres/litellm") == first
    assert opened(tmp_path / "s").generated("postgres/langfuse") != first


def test_how_it_is_made_can_be_chosen(tmp_path: Path) -> None:
    assert opened(tmp_path).generated("langfuse/encryption_key", lambda: "ab" * 32) == "ab" * 32


def test_file_and_folder_are_private_from_the_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    opened(folder).generated("postgres/litellm")
    assert mode(folder) == 0o700
    assert mode(folder / "lab.yaml") == 0o600
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "lab.yaml"]


def test_the_file_nests_as_the_names_do_and_keeps_what_was_there(tmp_path: Path) -> None:
    provide(tmp_path / "s", f"telegram:\n  token: {TOKEN}\n")
    value = opened(tmp_path / "s").generated("postgres/litellm")
    assert yaml.safe_load((tmp_path / "s" / "lab.yaml").read_text()) == {
        "postgres": {"litellm": str(value)},
        "telegram": {"token": TOKEN},
    }


def _generate(folder: Path, number: int) -> str:
    return str(opened(folder).generated("shared")) + str(opened(folder).generated(f"own/{number}"))[:0]


def test_runs_at_the_same_time_agree_and_lose_nothing(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        values = pool.starmap(_generate, [(tmp_path, number) for number in range(12)])
    assert len(set(values)) == 1
    assert len(yaml.safe_load((tmp_path / "lab.yaml").read_text())["own"]) == 12


def test_a_run_that_began_earlier_sees_what_another_made(tmp_path: Path) -> None:
    early, late = opened(tmp_path), opened(tmp_path)
    assert early.generated("postgres/litellm") == late.generated("postgres/litellm")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = opened(tmp_path).generated("first")

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DeclarationError, match=r"the file is not written \(no space left\)"):
        opened(tmp_path).generated("second")
    assert yaml.safe_load((tmp_path / "lab.yaml").read_text()) == {"first": str(value)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "lab.yaml"]


def test_one_that_is_forgotten_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    provide(tmp_path, "litellm: {keys: {shop: old, other: kept}}\n")
    opened(tmp_path).forget("litellm/keys/shop")
    again = opened(tmp_path)
    assert again.generated("litellm/keys/other") == "kept"
    assert again.generated("litellm/keys/shop") != "old"
    with pytest.raises(DeclarationError, match=r"litellm/keys/none is not there"):
        again.forget("litellm/keys/none")


COPY = Restic(repository="s3:https://s3.example/backups", environment={"AWS_SECRET_ACCESS_KEY": "s3/key"})


def test_nothing_is_rotated_without_a_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rotation"])
    assert rotation.main() == 1
    output = capsys.readouterr().err
    assert output.startswith(
        "make rotate: SECRET is missing, but must be the name of a secret; such as make rotate"
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("groq/api_key", "a provided secret"),
        ("telegram/token", "a provided secret"),
        ("litellm/salt_key", "one that stays (LiteLLM has encrypted"),
        ("postgres/litellm.salt", "one that stays"),
        ("postiz/jwt", "one that stays (Postiz has encrypted"),
        ("restic/password", "one that stays (the copies elsewhere are encrypted with it)"),
        ("s3/key", "a provided secret"),
    ],
)
def test_what_is_provided_and_what_must_last_is_not_rotated(tmp_path: Path, name: str, found: str) -> None:
    group, _, leaf = name.rpartition("/")
    provide(tmp_path, f"{group}: {{{leaf}: kept}}\n")
    with pytest.raises(DeclarationError) as refusal:
        rotate(name, declared(backups=BackupPolicy(root="/opt/backups", restic=COPY)), opened(tmp_path))
    assert f"SECRET: {name} is {found}" in str(refusal.value)
    assert opened(tmp_path).provided(name) == "kept"


def test_what_may_be_rotated_is_everything_else(tmp_path: Path) -> None:
    secrets = opened(tmp_path)
    for name in (
        "litellm/salt_key",
        "postgres/litellm",
        "postgres/litellm.salt",
        "telegram/token",
        "groq/api_key",
    ):
        secrets.generated(name)
    secrets.generated("clickhouse/password")
    assert set(rotatable(declared(), secrets)) == {"clickhouse/password", "postgres/litellm"}


def test_provided_ones_are_read(tmp_path: Path) -> None:
    provide(tmp_path, f"telegram: {{token: '{TOKEN}', chat: -100123}}\n")
    secrets = opened(tmp_path)
    assert secrets.provided("telegram/token") == TOKEN
    assert secrets.provided("telegram/chat") == "-100123"
    assert secrets.has("telegram/token")
    assert not secrets.has("registry/password")


@pytest.mark.parametrize(
    "text", ["", "telegram:\n", "telegram: {token: ''}\n", "telegram: {token: }\n", "telegram: x\n"]
)
def test_missing_ones_are_all_named_with_where_to_write_them(tmp_path: Path, text: str) -> None:
    provide(tmp_path, text)
    first, second = opened(tmp_path).missing(["telegram/token", "groq/key"])
    assert str(first).startswith(f"{tmp_path}/lab.yaml: telegram/token is missing, but must be the value")
    assert str(first).endswith('write it there as token: "…", below telegram:.')
    assert second.key == "groq/key"


def test_a_missing_one_stops_who_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="telegram/token is missing"):
        opened(tmp_path).provided("telegram/token")


@pytest.mark.parametrize(
    "value", ["0123456", "0x1F", "1_000", "12:30:45", "2020-01-01", "2020-99-99", "true", "1.5", "9" * 5000]
)
def test_a_secret_without_quotes_is_what_is_written(tmp_path: Path, value: str) -> None:
    provide(tmp_path, f"telegram: {{token: {value}}}\n")
    secrets = opened(tmp_path)
    assert secrets.provided("telegram/token") == value
    secrets.generated("postgres/litellm")  # writes the file anew
    assert opened(tmp_path).provided("telegram/token") == value


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\nMIIE+/==\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-256-CBC,0F\n\nMIIE\n-----END RSA PRIVATE KEY-----",
        '{\n  "type": "service_account"\n}\n',
    ],
)
def test_a_key_and_an_account_of_several_lines_are_taken_as_they_are(tmp_path: Path, text: str) -> None:
    provide(tmp_path, yaml.safe_dump({"google": {"account": text}}))
    assert opened(tmp_path).provided("google/account") == text


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("[hunter2]", "telegram/token is a list, but must be text, in quotes where it begins with [."),
        ('"hunter2\\n"', "telegram/token is text with a line break or another character that does not show"),
        ('"hunter2\\nb"', "is text with a line break"),
        ('"hunter2\\0"', "is text with a line break or another character that does not show"),
        ("hunter2\u200b", "is text with a line break or another character that does not show, but must be one line."),
        ("|\n  hunter2", "is text with a line break"),
        ("' hunter2'", "is text with a blank before or behind it, but must be the value alone."),
        ('"hunter2\u00a0"', "is text with a blank before or behind it"),
    ],
)  # fmt: skip
def test_what_no_provider_issues_is_refused_and_not_shown(tmp_path: Path, value: str, output: str) -> None:
    provide(tmp_path, f"telegram:\n token: {value}\nchat: CHANGEME\n")
    first, second = refused(tmp_path).splitlines()
    assert output in first
    assert "hunter2" not in first
    assert "chat is a placeholder" in second


@pytest.mark.parametrize(
    "value",
    [
        "CHANGEME",
        "changeme123",
        "change-me",
        "Change_This",
        "TODO",  # as a value that somebody left to be filled in
        "tbd",
        "xxxx",
        "'****'",
        "...",
        "…",
        "<token>",
        "your-token-here",
        "'${TOKEN}'",
        "'{{token}}'",
        "'null'",
        "'*MASKED*'",
    ],
)
def test_a_placeholder_is_no_secret(tmp_path: Path, value: str) -> None:
    provide(tmp_path, f"telegram: {{token: {value}}}\n")
    remedy = "fill it in, or take its line away"
    assert refused(tmp_path) == (
        f"{tmp_path}/lab.yaml: telegram/token is a placeholder, but must be the value; {remedy}."
    )


def test_a_name_that_could_be_a_value_is_not_shown(tmp_path: Path) -> None:
    provide(tmp_path, "telegram/token: a\ngroq:\n  'hunter2!': b\n")
    first, second = refused(tmp_path).splitlines()
    assert f"{tmp_path}/lab.yaml: a name is one with a slash, but must be" in first
    assert f"{tmp_path}/lab.yaml: a name below groq is one with other characters, but must be" in second
    assert "hunter2" not in second


def test_a_mapping_in_place_of_a_secret(tmp_path: Path) -> None:
    provide(tmp_path, "telegram: {token: {bot: b}}\n")
    assert [problem.expected for problem in opened(tmp_path).missing(["telegram/token"])] == ["text"]


def test_a_misspelt_name_is_pointed_at(tmp_path: Path) -> None:
    provide(tmp_path, "telegrm: {token: a}\ngroq: {key: b}\n")
    first, second = opened(tmp_path).missing(["telegram/token", "openai/key"])
    assert first.remedy.endswith("below telegram:; is telegrm/token there meant for it?")
    assert second.remedy.endswith("below openai:")


def test_a_link_stays_one(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    provide(vault, f"telegram: {{token: '{TOKEN}'}}\n")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "lab.yaml").symlink_to("../vault/lab.yaml")
    value = opened(folder).generated("postgres/litellm")
    assert (folder / "lab.yaml").is_symlink()
    assert yaml.safe_load((vault / "lab.yaml").read_text())["postgres"] == {"litellm": str(value)}
    assert mode(vault / "lab.yaml") == 0o600
    assert [path.name for path in vault.iterdir() if path.name != "lab.yaml"] == []


def test_a_link_to_a_disk_that_is_not_mounted_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").symlink_to("/nowhere/lab.yaml")
    assert "lab.yaml: the file is a link to a file that does not exist" in refused(tmp_path)


def test_a_name_below_a_text_cannot_be_made(tmp_path: Path) -> None:
    provide(tmp_path, "postgres: hunter2\n")
    with pytest.raises(DeclarationError, match="postgres/litellm") as error:
        opened(tmp_path).generated("postgres/litellm")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("wide", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, wide: int) -> None:
    provide(tmp_path, f"token: {TOKEN}\n", wide)
    message = refused(tmp_path)
    assert f"is {wide:04o}, but must be 0600; run `chmod 600 {tmp_path}/lab.yaml`" in message


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (f"token: [{TOKEN}\n", "line 2, column 1 is no YAML"),
        (f"token: {TOKEN}\ntoken: b\n", "line 2, column 1 is a key that is there twice"),
        (TOKEN, "the file is text, but must be a mapping"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_without_the_secret(
    tmp_path: Path, text: str, output: str
) -> None:
    provide(tmp_path, text)
    message = refused(tmp_path)
    assert output in message
    assert TOKEN not in message
    assert "\n" not in message


def test_a_binary_file(tmp_path: Path) -> None:
    provide(tmp_path, "")
    (tmp_path / "lab.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert f"{tmp_path}/lab.yaml" in refused(tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").mkdir()
    assert "the file is unreadable (Is a directory)" in refused(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    assert "s: the folder is not one that can be written (File exists)" in refused(tmp_path / "s")


def test_nothing_shows_by_accident(tmp_path: Path) -> None:
    provide(tmp_path, f"telegram: {{token: '{TOKEN}'}}\n")
    secrets = opened(tmp_path)
    value = secrets.provided("telegram/token")
    assert TOKEN not in repr(secrets) + repr(value) + repr([value]) + f"{value!r}"
    assert f"{value}" == TOKEN
    assert isinstance(value, Secret)


# age


@pytest.fixture
def identity(tmp_path: Path) -> tuple[str, str]:
    """Path of an identity and its public key."""
    made = pyrage.x25519.Identity.generate()
    path = tmp_path / "identity"
    path.write_text(f"# created by a test\n{made}\n")
    return str(path), str(made.to_public())


def test_with_recipients_the_file_is_encrypted_and_opens_again(
    tmp_path: Path, identity: tuple[str, str]
) -> None:
    path, public = identity
    folder = tmp_path / "s"
    provide(folder, f"telegram: {{token: '{TOKEN}'}}\n")
    (folder / "recipients").write_text(f"# the owner\n{public}\n")
    secrets = opened(folder, SOURCEFAST_AGE_IDENTITY=path)
    assert not (folder / "lab.yaml").exists()
    value = secrets.generated("postgres/litellm")
    encrypted = folder / "lab.yaml.age"
    assert mode(encrypted) == 0o600
    assert encrypted.read_bytes().startswith(b"age-encryption.org/v1")
    assert TOKEN.encode() not in encrypted.read_bytes()
    again = opened(folder, SOURCEFAST_AGE_IDENTITY=path)
    assert again.provided("telegram/token") == TOKEN
    assert again.generated("postgres/litellm") == value
    assert "decrypt the file with age" in again.missing(["groq/key"])[0].remedy


def test_an_encrypted_file_stays_encrypted_without_recipients(
    tmp_path: Path, identity: tuple[str, str]
) -> None:
    path, public = identity
    (tmp_path / "recipients").write_text(public)
    opened(tmp_path, SOURCEFAST_AGE_IDENTITY=path).generated("a")
    (tmp_path / "recipients").unlink()
    opened(tmp_path, SOURCEFAST_AGE_IDENTITY=path).generated("b")
    assert not (tmp_path / "lab.yaml").exists()
    assert opened(tmp_path, SOURCEFAST_AGE_IDENTITY=path).has("a")


def test_a_message_names_what_age_needs(tmp_path: Path, identity: tuple[str, str]) -> None:
    path, public = identity
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "recipients").write_text(public)
    opened(folder, SOURCEFAST_AGE_IDENTITY=path).generated("a")
    assert "SOURCEFAST_AGE_IDENTITY is not set" in refused(folder)
    assert "/nowhere, where no file is" in refused(folder, SOURCEFAST_AGE_IDENTITY="/nowhere")
    other = tmp_path / "other"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    assert "encrypted for another identity" in refused(folder, SOURCEFAST_AGE_IDENTITY=str(other))
    other.write_text("no identity")
    assert "no age identity" in refused(folder, SOURCEFAST_AGE_IDENTITY=str(other))
    provide(folder, "a: b\n")
    assert "there twice" in refused(folder, SOURCEFAST_AGE_IDENTITY=path)


def test_where_the_clear_file_was_a_link_no_clear_file_is_left(
    tmp_path: Path, identity: tuple[str, str]
) -> None:
    path, public = identity
    provide(tmp_path / "vault", "a: b\n")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "lab.yaml").symlink_to("../vault/lab.yaml")
    (folder / "recipients").write_text(public)
    assert opened(folder, SOURCEFAST_AGE_IDENTITY=path).provided("a") == "b"
    assert not (folder / "lab.yaml").is_symlink()
    assert not (tmp_path / "vault/lab.yaml").exists()


def test_a_damaged_file(tmp_path: Path, identity: tuple[str, str]) -> None:
    path, public = identity
    (tmp_path / "recipients").write_text(public)
    opened(tmp_path, SOURCEFAST_AGE_IDENTITY=path).generated("a")
    encrypted = tmp_path / "lab.yaml.age"
    encrypted.write_bytes(encrypted.read_bytes()[:-3])
    assert "is damaged, or not encrypted by age" in refused(tmp_path, SOURCEFAST_AGE_IDENTITY=path)


def test_recipients_that_are_none(tmp_path: Path, identity: tuple[str, str]) -> None:
    path, public = identity
    provide(tmp_path, "a: b\n")
    secret = Path(path).read_text().splitlines()[1]
    (tmp_path / "recipients").write_text(f"# owner\nage1nonsense\n{public}\n{secret}\n")
    message = refused(tmp_path)
    assert (
        f"{tmp_path}/recipients: line 2 is something else, but must be a public key of age, such as age1…."
        in message
    )
    assert f"{tmp_path}/recipients: line 4 is a private key, but must be a public key of age" in message
    assert secret not in message


@pytest.mark.parametrize("text", ["", "# none yet\n"])
def test_recipients_without_a_key_do_not_mean_that_secrets_stay_in_clear(tmp_path: Path, text: str) -> None:
    provide(tmp_path, "a: b\n")
    (tmp_path / "recipients").write_text(text)
    assert "the file is without a key, but must be public keys" in refused(tmp_path)


def test_recipients_that_cannot_be_read(tmp_path: Path) -> None:
    recipients = tmp_path / "recipients"
    recipients.write_bytes(b"\xff")
    assert "recipients: the file is no text, but must be text in UTF-8." in refused(tmp_path)
    recipients.unlink()
    recipients.mkdir()
    assert "recipients: the file is unreadable (Is a directory)" in refused(tmp_path)
