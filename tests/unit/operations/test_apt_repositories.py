from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facts.apt_repositories import AptRepositories, Repositories, Target, parse
from facts.files import Tree, TreeState
from operations import apt_repositories
from operations.apt_repositories import further_components
from operations.script import Script
from tests.unit.bench import Bench
from tests.unit.hosts import commands
from tests.unit.paths import FIXTURES

# What the fact's script printed on a Debian 13 that this project provisioned.
RECORDED = (FIXTURES / "apt-repositories.txt").read_text().splitlines()
DEBIAN = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DRIVER = "/etc/apt/sources.list.d/nvidia-driver.sources"
TOOLKIT = "/etc/apt/sources.list.d/nvidia-container-toolkit.sources"
TOOLKIT_KEYRING = "/etc/apt/keyrings/nvidia-container-toolkit.gpg"
FINGERPRINT = "63703E6CBAD15BCF2F6A0058C1BD7AAF93FCE437"
DESIRED = ("contrib", "non-free")

MAIN = Target("/etc/apt/sources.list.d/debian.sources", DEBIAN, "trixie", "main", KEYRING)
FRESH = Repositories((MAIN, replace(MAIN, suite="trixie-updates")), "trixie")
STANZA = f"Types: deb\nURIs: {DEBIAN}\nSuites: {{}}\nComponents: {{}}\nSigned-By: {KEYRING}\n"


# --- the fact


def test_reads_what_apt_is_configured_with() -> None:
    state = parse(RECORDED)
    assert state.codename == "trixie"
    assert state.fingerprints == (FINGERPRINT,)
    assert MAIN in state.targets
    assert Target(DRIVER, DEBIAN, "trixie-updates", "non-free", KEYRING) in state.targets
    # A component of a distribution is a target for each architecture, and one here.
    assert len(state.targets) == len(set(state.targets)) == 2 * (1 + 3) + 2
    assert {target.signed_by for target in state.targets if "nvidia.github.io" in target.uri} == {
        TOOLKIT_KEYRING
    }


def test_the_one_line_format_names_its_key_too() -> None:
    state = parse(
        [
            "@@targets",
            "/etc/apt/sources.list:3|http://archive.ubuntu.com/ubuntu/|noble|main",
            "@@signed-by",
            "/etc/apt/sources.list:signed-by=/usr/share/keyrings/ubuntu.gpg",
            "@@codename",
            "noble",
        ]
    )
    key = "/usr/share/keyrings/ubuntu.gpg"
    assert state.targets == (
        Target("/etc/apt/sources.list", "http://archive.ubuntu.com/ubuntu", "noble", "main", key),
    )
    assert state.fingerprints == ()


def test_a_host_without_apt_has_no_repositories(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    command = AptRepositories().command("/nowhere").get_raw_value()
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    state = AptRepositories().process(done.stdout.splitlines())
    assert (state.targets, state.fingerprints) == ((), ())
    assert AptRepositories.default() == Repositories()


# --- components


def test_components_are_added_wherever_main_comes_from() -> None:
    assert further_components(FRESH, DESIRED, DRIVER) == "\n".join(
        [STANZA.format("trixie", "contrib non-free"), STANZA.format("trixie-updates", "contrib non-free")]
    )


def test_components_without_a_key_of_their_own_have_apts() -> None:
    state = Repositories((replace(MAIN, signed_by=""),), "trixie")
    output = further_components(state, DESIRED, DRIVER)
    assert output == STANZA.format("trixie", "contrib non-free").replace(f"Signed-By: {KEYRING}\n", "")


@pytest.mark.parametrize(
    ("enabled", "added"),
    [
        ([], "contrib non-free"),
        (["contrib"], "non-free"),
        (["contrib", "non-free"], None),
    ],
)
def test_only_what_is_missing_is_added(enabled: list[str], added: str | None) -> None:
    targets = (MAIN, *(replace(MAIN, component=component) for component in enabled))
    output = further_components(Repositories(targets, "trixie"), DESIRED, DRIVER)
    assert output == (STANZA.format("trixie", added) if added else None)


def test_what_the_file_itself_brings_is_not_there_already() -> None:
    """Otherwise every second run would take it away again."""
    own = tuple(replace(MAIN, file=DRIVER, component=component) for component in DESIRED)
    after = replace(FRESH, targets=FRESH.targets + own)
    assert further_components(after, DESIRED, DRIVER) == further_components(FRESH, DESIRED, DRIVER)


@pytest.mark.parametrize(
    "other",
    [
        replace(MAIN, suite="bookworm"),
        replace(MAIN, uri="https://download.docker.com/linux/debian", component="stable"),
        replace(MAIN, uri="https://nvidia-packages.lab", suite="./", component="$(COMPONENT)"),
    ],
)
def test_repositories_of_others_get_no_components(other: Target) -> None:
    assert further_components(Repositories((other,), "trixie"), DESIRED, DRIVER) is None


def answers(state: Repositories) -> dict[Any, Any]:
    """A host with these repositories and none of our files."""
    return {AptRepositories: state, Tree: TreeState()}


def test_components_are_written_or_left_alone() -> None:
    (written,) = commands(
        apt_repositories.components, answers(FRESH), name_of_file="nvidia-driver", desired=DESIRED
    )
    assert isinstance(written, Script)
    assert DRIVER in written.payload
    full = Repositories((MAIN, *(replace(MAIN, component=one) for one in DESIRED)), "trixie")
    assert not commands(
        apt_repositories.components, answers(full), name_of_file="nvidia-driver", desired=DESIRED
    )


# --- a repository


def repository(state: Repositories) -> list[Any]:
    return commands(
        apt_repositories.repository,
        answers(state),
        name_of_file="nvidia-container-toolkit",
        uri="https://nvidia.github.io/libnvidia-container/stable/deb/amd64",
        suite="/",
        key_url="https://nvidia.github.io/libnvidia-container/gpgkey",
        fingerprint=FINGERPRINT,
    )


def test_a_repository_comes_after_its_key() -> None:
    key, source = repository(Repositories())
    assert (key.script, source.script) == ("apt/keyring.sh", "host/apply-tree.sh")
    assert key.get_raw_value().endswith(
        f"https://nvidia.github.io/libnvidia-container/gpgkey {FINGERPRINT} {TOOLKIT_KEYRING}"
    )
    assert TOOLKIT in source.payload


@pytest.mark.parametrize("keys", [(), ("A" * 40,), (FINGERPRINT, "A" * 40)])
def test_a_keyring_with_another_key_is_replaced(keys: tuple[str, ...]) -> None:
    key, _ = repository(Repositories(fingerprints=keys))
    assert key.script == "apt/keyring.sh"


def test_a_key_that_is_there_is_not_fetched() -> None:
    assert [command.script for command in repository(Repositories(fingerprints=(FINGERPRINT,)))] == [
        "host/apply-tree.sh"
    ]


def test_a_server_that_says_nothing_is_not_waited_for_without_end(tmp_path: Path, bench: Bench) -> None:
    bench.program("curl", 'log "$*"; exit 28')
    done = bench.run("apt/keyring.sh", "https://keys.example/key", "A" * 40, tmp_path / "keyrings/a.gpg")
    assert done.returncode == 1
    assert "found no key at https://keys.example/key" in done.stderr
    assert "--connect-timeout 30 --max-time 120" in bench.calls[0]
