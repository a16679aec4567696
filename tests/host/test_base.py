"""The system under everything: units, swap, journal, upgrades, rotation, cleanup (requirements 1.1 and 11)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from blueprint.model import CronJob
from blueprint.phases import HARDWARE
from group_data.all import cron_jobs, journal_max_mib, paths, swappiness
from group_data.lab import swap_gib
from lab.machine import Machine


def show(machine: Machine, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    output = machine.run(f"systemctl show --property={','.join(names)} {unit}").stdout
    return dict(line.split("=", 1) for line in output.splitlines())


def test_the_kernel_prefers_compressed_swap(machine: Machine) -> None:
    # The lab's kernel belongs to this machine, so what is tried is that its loader takes the file.
    output = machine.run("/usr/lib/systemd/systemd-sysctl --cat-config").stdout
    settings = re.findall(r"(?m)^vm\.swappiness\s*=\s*(\d+)", output)
    assert settings[-1:] == [str(swappiness)], output


# The unit as it is, with all that it may not do, but for the condition and for the kernel's part.
SWAP_IN_A_CONTAINER = """\
[Unit]
ConditionVirtualization=
[Service]
Environment=PATH=/run/no-swapon:/usr/sbin:/usr/bin:/sbin:/bin
"""


def test_the_swap_file_is_made_as_large_as_declared(machine: Machine) -> None:
    # swapon is the kernel's, which a container does not have; all that comes before it can be tried.
    drop_in = "/run/systemd/system/swapfile.service.d"
    machine.run("mkdir -p /run/no-swapon && ln -sf /bin/true /run/no-swapon/swapon")
    machine.run(f"mkdir -p {drop_in} && cat >{drop_in}/try.conf", input=SWAP_IN_A_CONTAINER)
    try:
        machine.run("systemctl daemon-reload && systemctl start swapfile.service")
        assert machine.run("stat -c '%s %a %U' /swapfile").stdout.split() == [
            str(swap_gib * 1024**3),
            "600",
            "root",
        ]
        assert (
            "SWAPSPACE2"
            in machine.run("blkid -p -o export /swapfile; head -c 4096 /swapfile | tail -c 10").stdout
        )
        # Blocks, not holes: the kernel refuses a file with holes.
        assert int(machine.run("du -B1 /swapfile").stdout.split()[0]) >= swap_gib * 1024**3
    finally:
        machine.run(f"rm -r {drop_in}; systemctl daemon-reload; systemctl stop swapfile.service")
        machine.run("rm -rf /swapfile /run/no-swapon; systemctl start swapfile.service")


def test_the_journal_has_its_limit(machine: Machine) -> None:
    output = machine.run("journalctl --no-pager -o cat -u systemd-journald").stdout
    limits = re.findall(r"System Journal .* max ([^,]+),", output)
    assert limits[-1:] == [f"{journal_max_mib}M"], output


def test_security_upgrades_install_themselves(machine: Machine) -> None:
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert show(machine, unit, "ActiveState") == {"ActiveState": "active"}
    enabled = machine.run("apt-config shell IT APT::Periodic::Unattended-Upgrade").stdout
    assert enabled.strip() == "IT='1'"
    done = machine.run("unattended-upgrade --dry-run --debug 2>&1", check=False, timeout=600)
    assert done.returncode == 0, done.stdout
    origins = next(line for line in done.stdout.splitlines() if line.startswith("Allowed origins are:"))
    assert "label=Debian-Security" in origins, origins


def test_logs_of_our_scripts_are_rotated(machine: Machine) -> None:
    log = f"{paths.logs}/rotation-test.log"
    machine.run(f"umask 027; head -c 11M /dev/zero >{log}")
    try:
        checked = machine.run("logrotate --debug /etc/logrotate.conf 2>&1", check=False)
        assert checked.returncode == 0, checked.stdout
        assert not re.search("^error", checked.stdout, re.MULTILINE), checked.stdout
        machine.run("logrotate --state /run/rotation.state /etc/logrotate.d/host-scripts")
        assert machine.run(f"stat -c '%s %a' {log} {log}.1").stdout.splitlines() == [
            "0 640",
            f"{11 * 1024**2} 640",
        ]
    finally:
        machine.run(f"rm -f {log}* /run/rotation.state")


@pytest.mark.parametrize(
    "job", [job for job in cron_jobs if job.phase == HARDWARE], ids=lambda job: str(job.name)
)
def test_cron_takes_a_job(machine: Machine, job: CronJob) -> None:
    # cron passes over files with other names, with other owners, and that others can write.
    assert re.fullmatch(r"[A-Za-z0-9_-]+", job.name)
    assert machine.run(f"stat -c '%U %a' /etc/cron.d/{job.name}").stdout.split() == ["root", "644"]
    # crontab's own parser; it knows the format without the user, who is taken out.
    checked = machine.run(
        rf"sed -E 's/^((\S+\s+){{5}})root\s+/\1/' /etc/cron.d/{job.name} >/run/job && crontab -n /run/job 2>&1",
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_cron_has_read_all_jobs_without_complaint(machine: Machine) -> None:
    machine.run("touch /etc/cron.d && systemctl restart cron")  # reads them at once
    assert show(machine, "cron.service", "ActiveState") == {"ActiveState": "active"}
    output = machine.run("journalctl --no-pager -o cat -u cron").stdout
    assert not re.search(r"error|wrong|bad |insecure", output, re.IGNORECASE), output


@pytest.fixture
def litter(machine: Machine) -> Iterator[str]:
    """What a cleanup may take and what it may not: an image without a name, volumes used and unused, with and without a
    name. Gives the image of shared-whisper, from which a container is made."""
    image = machine.run("docker inspect --format '{{.Config.Image}}' shared-whisper").stdout.strip()
    machine.run(
        "docker volume create kept-by-name; docker volume create --label keep=true kept-by-label; "
        f"docker create --name with-volume --volume /data {image}; "
        f"docker create --name leaves-volume --volume /data {image}; docker rm leaves-volume; "
        "printf 'FROM debian:trixie-slim\\nLABEL litter=1\\n' | docker build --quiet -"
        f" || printf 'FROM {image}\\nLABEL litter=1\\n' | docker build --quiet -"
    )
    yield image
    machine.run("docker rm -f with-volume; docker volume rm kept-by-name kept-by-label", check=False)
    machine.run("docker image prune --force; docker volume prune --force", check=False)


def test_the_cleanup_takes_what_nobody_wants_only(machine: Machine, litter: str) -> None:
    def anonymous() -> set[str]:
        volumes = machine.run("docker volume ls -q --filter label=com.docker.volume.anonymous").stdout
        return set(volumes.split())

    mounts = machine.run("docker inspect --format '{{json .Mounts}}' with-volume").stdout
    used = {mount["Name"] for mount in json.loads(mounts)}
    containers = machine.run("docker ps --all --quiet --no-trunc").stdout
    assert anonymous() > used
    machine.run("DOCKER_CLEANUP_AGE=0s /opt/scripts/docker-cleanup.sh")
    assert anonymous() == used
    assert machine.run("docker images -q --filter label=litter=1").stdout == ""
    named = machine.run("docker volume ls --format '{{.Name}}'").stdout.split()
    assert {"kept-by-name", "kept-by-label"} <= set(named)
    assert machine.run("docker ps --all --quiet --no-trunc").stdout == containers
    assert machine.run(f"docker image inspect --format '{{{{.Id}}}}' {litter}").stdout
