from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationValueError

from facts.apt import Packages, PackagesState, read_packages
from operations import apt
from operations.apt import Package
from operations.script import FILES
from tests.unit.hosts import commands

# Debian 13: an installed, a held, a removed and a half-configured package, and one that nobody knows.
ANSWER = """\
package\tii \tbash
package\thi \tnvidia-driver
package\trc \tnano
package\tiF \tdocker.io
broken iF \tdocker.io
bash:
  Installed: 5.2.37-2+b5
  Candidate: 5.2.37-2+b5
  Version table:
 *** 5.2.37-2+b5 500
        500 http://mirror.example/debian trixie/main amd64 Packages
zstd:
  Installed: (none)
  Candidate: 1.5.7+dfsg-1
  Version table:
docker-ce:
  Installed: (none)
  Candidate: (none)
  Version table:
now 1759754096
sources 1759000000.5000000000
sources 1759000001.0000000000
updated 1759750000.0000000000
"""


def test_reads_what_dpkg_and_apt_say() -> None:
    assert read_packages(ANSWER.splitlines()) == PackagesState(
        installed=frozenset({"bash", "nvidia-driver"}),
        held=frozenset({"nvidia-driver"}),
        broken=("docker.io",),
        candidates=frozenset({"bash", "zstd"}),
        now=1759754096,
        sources_changed=1759000001,
        updated=1759750000,
    )


def test_refuses_half_an_answer() -> None:
    with pytest.raises(FactProcessError):
        read_packages(ANSWER.splitlines()[:5])


def test_asks_dpkg() -> None:
    command = Packages().command(["dpkg", "no-such-package"], ["apt"]).get_raw_value()
    answer = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    state = read_packages(answer.splitlines())
    assert state.installed == {"dpkg", "apt"}
    assert "no-such-package" not in state.candidates and state.now > 0


# --- the difference

FRESH = PackagesState(
    installed=frozenset({"bash", "docker-ce", "driver"}),
    held=frozenset({"driver"}),
    candidates=frozenset({"zstd"}),
    now=100_000,
    sources_changed=90_000,
    updated=95_000,
)

CASES: list[tuple[str, dict[str, list[Package | str]], PackagesState, list[str]]] = [
    ("installed", {"present": ["bash"]}, FRESH, []),
    ("another engine is there", {"present": [Package("docker.io", unless=("docker-ce",))]}, FRESH, []),
    ("held", {"held": ["driver"]}, FRESH, []),
    ("old lists and nothing to install", {"present": ["bash"]}, replace(FRESH, updated=0.0), []),
    ("missing", {"present": ["zstd"]}, FRESH, ["install zstd"]),
    ("no engine is there", {"present": [Package("zstd", unless=("podman",))]}, FRESH, ["install zstd"]),
    (
        "it would start a unit of its own",
        {"present": [Package("zstd", masks=("zstd.service",))]},
        FRESH,
        ["mask zstd.service", "install zstd"],
    ),
    ("lists a day old", {"present": ["zstd"]}, replace(FRESH, now=190_000), ["update lists", "install zstd"]),
    (
        "sources newer",
        {"present": ["zstd"]},
        replace(FRESH, sources_changed=95_001),
        ["update lists", "install zstd"],
    ),
    ("no lists", {"present": ["zstd"]}, replace(FRESH, updated=None), ["update lists", "install zstd"]),
    ("no candidate", {"present": ["curl"]}, FRESH, ["update lists", "install curl"]),
    ("not held", {"held": ["bash"]}, FRESH, ["hold bash"]),
    ("held and missing", {"held": ["zstd"]}, FRESH, ["install zstd", "hold zstd"]),
    ("interrupted", {"present": ["bash"]}, replace(FRESH, broken=("dpkg",)), ["repair dpkg"]),
]


@pytest.mark.parametrize(
    ("declared", "found", "lines"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_difference(declared: dict[str, list[Package | str]], found: PackagesState, lines: list[str]) -> None:
    yielded = commands(apt.packages, {Packages: found}, **declared)
    assert [command.payload.splitlines() for command in yielded] == ([lines] if lines else [])


def test_no_recommends_is_handed_on() -> None:
    (command,) = commands(apt.packages, {Packages: FRESH}, present=["zstd"], no_recommends=True)
    assert command.get_raw_value().endswith("--no-install-recommends")


@pytest.mark.parametrize("name", ["Docker", "-y", "a b", "libc6:amd64", ""])
def test_a_package_has_a_plain_name(name: str) -> None:
    with pytest.raises(OperationValueError):
        Package(name)


# --- the script, with programs that record their input

RECORD = """#!/bin/bash
echo "${0##*/} $*" >>"$STATE/calls"
tries=$STATE/locked
if [[ ${@: -1} == update && -s $tries ]]; then
    sed -i 1d "$tries"
    echo "E: Could not get lock /var/lib/apt/lists/lock." >&2
    exit 100
fi
"""
QUERY = """#!/bin/bash
[[ ${@: -1} != virtual ]] && printf 'ii '
"""


def apply(tmp_path: Path, lines: str, *args: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    programs = dict.fromkeys(("apt-get", "apt-mark", "dpkg", "mkdir", "systemctl", "touch"), RECORD)
    programs |= {"dpkg-query": QUERY, "sleep": "#!/bin/sh\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": str(tmp_path)}
    script = ["bash", str(FILES / "host/apply-packages.sh"), *args]
    run = subprocess.run(script, input=lines, env=env, capture_output=True, text=True)
    return run, (tmp_path / "calls").read_text().splitlines()


def test_steps_are_done_in_order(tmp_path: Path) -> None:
    lines = "hold driver\ninstall zstd\nmask zstd.service\ninstall driver\nupdate lists\nrepair dpkg\n"
    run, calls = apply(tmp_path, lines, "--no-install-recommends")
    assert run.returncode == 0, run.stderr
    words = [(call.split()[0], call.split("--force-confold", 1)[-1].strip()) for call in calls]
    assert words == [
        ("dpkg", "--configure -a"),
        ("apt-get", "--fix-broken install"),
        ("apt-get", "-o APT::Update::Error-Mode=any update"),
        ("mkdir", "mkdir -p -- /var/lib/apt/periodic"),
        ("touch", "touch -- /var/lib/apt/periodic/update-success-stamp"),
        ("systemctl", "systemctl mask --quiet -- zstd.service"),
        ("apt-get", "--no-install-recommends install -- zstd driver"),
        ("apt-mark", "apt-mark hold -- driver"),
    ]


def test_another_apt_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("1\n2\n")
    run, calls = apply(tmp_path, "update lists\n")
    assert run.returncode == 0, run.stdout + run.stderr
    assert len([call for call in calls if call.endswith("update")]) == 3
    assert "another apt or dpkg is at work" in run.stdout


def test_a_virtual_package_is_named(tmp_path: Path) -> None:
    run, _ = apply(tmp_path, "install virtual\n")
    assert run.returncode != 0 and "name the package that provides it" in run.stderr
