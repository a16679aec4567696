"""A run after a run changes nothing, a dry run says so, and no secret shows: the bot's token is searched for."""

from __future__ import annotations

import subprocess

import yaml

from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import Deploy, pyinfra_command

WATCHDOG = "/etc/sourcefast/gpu-watchdog.ini"
TELEGRAM = "/etc/sourcefast/telegram.ini"
WARMUP = "/opt/scripts/ollama-warmup.sh"


def canary() -> str:
    secrets = yaml.safe_load((CHECKOUT / "secrets" / "lab.yaml").read_text())
    return str(secrets["telegram"]["token"])


# What puts right what `differing` spoils.
DIFFERING = [
    "Phase 0: hardware | Base system | Settings of the base system",
    "Phase 0: hardware | Watchdog and cleanup | Watchdog, cron jobs and log rotation",
]


def differing(machine: Machine) -> None:
    """Make a file with a secret and two without differ from what is declared."""
    machine.run(f"sed -i 's/^chat.*/chat = 1/' {TELEGRAM}; echo '# by hand' >>{WATCHDOG}; chmod 600 {WARMUP}")


def test_a_second_run_changes_nothing(deploy: Deploy) -> None:
    again = deploy()
    assert again.rc == 0, again.output
    assert again.changed == []


def test_a_dry_run_after_a_run_lists_no_change(machine: Machine, deploy: Deploy) -> None:
    dry = deploy("--dry", "--diff")
    assert dry.rc == 0, dry.output
    assert dry.planned == [], dry.output


def test_a_dry_run_lists_what_differs_and_changes_nothing(machine: Machine, deploy: Deploy) -> None:
    differing(machine)
    try:
        before = machine.run(f"sha256sum {TELEGRAM} {WATCHDOG}; stat -c %a {WARMUP}").stdout
        dry = deploy("--dry", "--diff")
        assert dry.planned == DIFFERING
        assert "- # by hand" in dry.output, dry.output
        assert machine.run(f"sha256sum {TELEGRAM} {WATCHDOG}; stat -c %a {WARMUP}").stdout == before
    finally:
        repaired = deploy()
    assert repaired.changed == DIFFERING


def test_no_output_shows_the_secret_of_a_file_that_is_written(machine: Machine, deploy: Deploy) -> None:
    differing(machine)
    done = deploy("-vvv", "--diff", "--debug")
    assert done.rc == 0, done.output
    assert f"{TELEGRAM}: written" in done.output, "the file with the secret was not written in this run"
    assert canary() not in done.output
    log = CHECKOUT / "pyinfra-debug.log"
    assert not log.exists() or canary() not in log.read_text()


def test_no_process_shows_the_secret_while_it_is_written(machine: Machine) -> None:
    differing(machine)
    watching = "for _ in $(seq 2000); do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; sleep 0.01; done"
    machine.run(
        "systemd-run --quiet --unit=watch-processes --property=StandardOutput=file:/run/processes "
        f"--property=StandardError=null bash -c '{watching}'"
    )
    done = subprocess.run(
        pyinfra_command(), cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=1800
    )
    machine.run("systemctl stop watch-processes")
    assert f"{TELEGRAM}: written" in done.stdout + done.stderr, "nothing was written in this run"
    seen = machine.run("grep -ac apply-tree.sh /run/processes", check=False).stdout
    assert int(seen) > 0, "the watcher missed the very command"
    assert machine.run(f"grep -c -a -F {canary()} /run/processes", check=False).stdout.strip() == "0"
    machine.run("rm /run/processes")


def test_no_log_and_no_file_that_others_read_has_the_secret(machine: Machine) -> None:
    machine.run("/opt/scripts/gpu-watchdog.sh", check=False)
    # On standard input: as an argument it would be found in the journal of sshd or the process list of the search.
    places = "/etc /opt /var/lib /var/log /var/tmp /tmp /run /home /usr/local"
    search = (
        "set -u; IFS= read -r canary; "
        f"find {places} -xdev -type f -size -20M -perm /o=r ! -path '/var/lib/docker/*' -print0 | "
        'xargs -0 grep -l -a -F -e "$canary"; '
        "journalctl --no-pager -o cat | grep -c -F -e \"$canary\" | sed 's/^/journal: /'; "
        f"grep -c -F -e \"$canary\" {TELEGRAM} | sed 's/^/private: /'"
    )
    found = subprocess.run(
        ["ssh", "-F", str(machine.lab.state / "ssh_config"), "lab", search],
        input=f"{canary()}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    ).stdout
    assert found.splitlines() == ["journal: 0", "private: 1"]


def test_files_with_secrets_are_private(machine: Machine) -> None:
    assert machine.run(f"stat -c '%a %U:%G' {TELEGRAM} $(dirname {TELEGRAM})").stdout.splitlines() == [
        "600 root:root",
        "700 root:root",
    ]
