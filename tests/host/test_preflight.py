"""A host that is not fit: everything that stands in the way in one report, before anything on it is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from blueprint import group_data
from group_data.gpu import gpus, ollama_instances
from group_data.lab import hardware_profile
from lab.authority import write_private
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import CompletedRun, await_true, run_pyinfra

# Everything a deploy could leave: files with their times, packages, units, accounts. Not what systemd notes for itself
# when it is asked the time.
STATE = (
    r"find /etc /usr /opt /root /srv /boot /home /var -xdev ! -path '/var/log/*' ! -path '/var/lib/systemd/*' "
    r"! -path '/var/tmp*' "
    r"-printf '%p %y %m %u %s %T@\n' | sort; dpkg-query -W; systemctl list-unit-files --no-legend; "
    "getent passwd; ls -I 'systemd-private*' /tmp"
)
# Of an instance, the index of a card, and a profile that is not the lab's.
PORT = ollama_instances[0].port
CARD = 2
OTHER_PROFILE = next(name for name in group_data.read().profiles if name != hardware_profile)


@pytest.fixture(scope="module")
def unfit(bare: Machine) -> Machine:
    """A bare machine with another processor, less memory, a port taken, and a card that is not in its slot."""
    listen = "import signal, socket; s = socket.create_server(('', PORT)); signal.pause()".replace(
        "PORT", str(PORT)
    )
    bare.present(OTHER_PROFILE)
    bare.run(f"gpu-sim take-away {CARD}")
    bare.run(f'systemd-run --quiet --unit=squatter python3 -c "{listen}"')
    await_true(lambda: f":{PORT}" in bare.run("ss -Hltn").stdout, 60, f"program on port {PORT}")
    return bare


@pytest.fixture(scope="module")
def before(unfit: Machine) -> str:
    return unfit.run(STATE).stdout


@pytest.fixture(scope="module")
def refused(before: str) -> CompletedRun:
    return run_pyinfra()


def test_an_unfit_host_is_refused_in_one_report(refused: CompletedRun) -> None:
    assert refused.rc != 0
    assert refused.output.count("is not ready for this run, and nothing was changed: 4 problems") == 1, (
        refused.output
    )
    problems = re.findall(r"(?m)^- (.*)$", refused.output)
    assert problems == ["processor", "memory", f"port {PORT}", f"GPU at {gpus[CARD].bus}"]
    for label in ("found:", "expected:", "fix:"):
        assert refused.output.count(label) == 4
    assert "taken by python3" in refused.output
    assert "Traceback" not in refused.output


def test_an_unfit_host_is_left_as_it_was(unfit: Machine, before: str, refused: CompletedRun) -> None:
    assert refused.rc != 0
    after = unfit.run(STATE).stdout
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert changed == set()


@pytest.fixture
def no_token() -> Iterator[None]:
    """The lab's secrets without the bot's token."""
    path = CHECKOUT / "secrets" / "lab.yaml"
    content = path.read_bytes()
    secrets = yaml.safe_load(content)
    del secrets["telegram"]["token"]
    write_private(path, yaml.safe_dump(secrets).encode())
    yield
    write_private(path, content)


@pytest.mark.usefixtures("no_token")
def test_a_missing_secret_is_refused_together_with_the_rest(unfit: Machine, before: str) -> None:
    refused = run_pyinfra()
    assert refused.rc != 0
    assert "5 problems" in refused.output, refused.output
    assert "secrets/lab.yaml: telegram/token" in refused.output
    assert "Traceback" not in refused.output
    assert set(unfit.run(STATE).stdout.splitlines()) ^ set(before.splitlines()) == set()
