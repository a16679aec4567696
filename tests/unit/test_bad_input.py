"""What a user sees of bad input: pyinfra itself is run, and stops with one sentence before it connects anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.hosts import command_line
from tests.unit.paths import CHECKOUT

# The lab's host listens nowhere: a run that came as far as this connected.
CONNECTED = "Could not connect"

# The real deploy.py with one phase that does nothing, on a host that pyinfra makes up.
ONE_PHASE = """
from types import SimpleNamespace
def phases_of(blueprint):
    return (SimpleNamespace(number=0, name="hardware", group="gpu", deploy=lambda blueprint: None),)
"""
FAKE_HOST = """
gpu = shared = celeron_g4930 = lab = [("@fake/host", {"fake_delay": 0, "fake_delay_jitter": 0})]
"""


def pyinfra(checkout: Path, *arguments: str, environment: str = "") -> tuple[int, str]:
    """Run a deploy. Returns its status and everything that it printed."""
    run = in_checkout(checkout, "-y", "inventory.py", "deploy.py", *arguments, environment=environment)
    return run.returncode, run.stdout


def in_checkout(checkout: Path, *arguments: str, environment: str = "") -> subprocess.CompletedProcess[str]:
    """Run `pyinfra` in the copy."""
    variables = {**os.environ, "SOURCEFAST_ENV": environment}
    return command_line(*arguments, folder=checkout, environment=variables)


def stops(checkout: Path, answer: Iterable[str], *arguments: str, environment: str = "") -> None:
    """A run stops before it connects, with what is expected in one line of its output."""
    status, output = pyinfra(checkout, *arguments, environment=environment)
    assert status != 0
    assert "Traceback" not in output
    assert CONNECTED not in output
    assert [line for line in output.splitlines() if all(part in line for part in answer)], output


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_in_order_gets_as_far_as_the_host(checkout: Path) -> None:
    status, output = pyinfra(checkout)
    assert status != 0
    assert CONNECTED in output


def test_a_misspelt_key_of_the_command_line(checkout: Path) -> None:
    answer = [
        "--data: swapiness is not a known key",
        "one of phase, allow_untested_os, allow_small_machine, llm_provider, optional_services, report,",
        "did you mean swappiness?",
    ]
    stops(checkout, answer, "--data", "swapiness=10")


def test_a_value_of_another_kind(checkout: Path) -> None:
    stops(
        checkout,
        ["--data: swap_gib is 'much', but must be a whole number from 0 to 1024 (GiB)."],
        "--data",
        "swap_gib=much",
    )


def test_data_without_a_value(checkout: Path) -> None:
    answer = "--data: swap_gib is no key with a value, but must be key=value."
    stops(checkout, [answer], "--data", "swap_gib")


def test_data_that_no_parser_takes(checkout: Path) -> None:
    answer = ["--data: swap_gib is nested too deep, but must be a plain value."]
    stops(checkout, answer, "--data", f"swap_gib={'[' * 100_000}")


def test_data_of_any_size(checkout: Path) -> None:
    stops(
        checkout, ["--data: swap_gib is '9999", "9999', but must be"], "--data", f"swap_gib={'9' * 100_000}"
    )
    stops(checkout, ["--data: xxxx", "is not a known key"], "--data", f"{'x' * 100_000}=1")


def test_the_key_of_a_user_who_is_unknown(checkout: Path) -> None:
    answer = ["--data: ssh_key is '~nouser/key', but must be the path of a file that you can read."]
    stops(checkout, answer, "--data", "ssh_key=~nouser/key")


def test_a_limit_that_nobody_is_in(checkout: Path) -> None:
    stops(
        checkout,
        ["--limit: a name is 'gpus', but must be one of lab, ", "did you mean gpu?"],
        "--limit",
        "gpus",
    )
    assert CONNECTED in pyinfra(checkout, "--limit", "l*")[1]


def test_an_unknown_profile(checkout: Path) -> None:
    answer = ["--data: hardware_profile is 'i9', but must be one of celeron_g4930, i7_9700k."]
    stops(checkout, answer, "--data", "hardware_profile=i9")


def test_a_profile_for_one_run(checkout: Path) -> None:
    _, output = pyinfra(checkout, "--data", "hardware_profile=i7_9700k")
    assert CONNECTED in output
    shown = in_checkout(checkout, "inventory.py", "debug-inventory", "--data", "hardware_profile=i7_9700k")
    assert shown.returncode == 0
    projects = "augmenter, gpu, shared, voicejury"
    assert f"Groups: {projects}, i7_9700k, lab, inventory" in shown.stdout


def test_data_of_pyinfras_own_is_let_through(checkout: Path) -> None:
    _, output = pyinfra(checkout, "--data", "ssh_connect_retries=0")
    assert CONNECTED in output


def test_a_misspelt_key_of_group_data(checkout: Path) -> None:
    replace(checkout / "group_data/all.py", "swappiness = 150", "swapiness = 150")
    stops(checkout, ["group_data/all.py: swapiness is not a known key", "did you mean swappiness?"])


def test_a_misspelt_field_of_a_declaration(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "bus=", "bsu=")
    stops(checkout, ["group_data/gpu.py: Gpu GPU-", ".bsu is not a known key", "did you mean bus?"])


def test_a_key_in_two_groups(checkout: Path) -> None:
    with (checkout / "group_data/gpu.py").open("a") as file:
        file.write("\nswappiness = 60\n")
    stops(checkout, ["group_data/gpu.py: swappiness is declared in group_data/all.py too"])


def test_a_card_twice(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "GPU-bdb1f5e4", "GPU-85c38fae")
    stops(checkout, ["group_data/gpu.py: gpus.GPU-85c38fae.uuid", "another card than GPU-85c38fae (01:00.0)"])


def test_a_prefix_of_two_cards(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "GPU-bdb1f5e4", "GPU-85c38f00")
    replace(
        checkout / "group_data/gpu.py", 'name="light", gpu="GPU-85c38fae"', 'name="light", gpu="GPU-85c38f"'
    )
    answer = [
        "ollama_instances.light.gpu is GPU-85c38f, the prefix of GPU-85c38fae and GPU-85c38f00",
        "exactly one of",
    ]
    stops(checkout, answer)


def test_a_port_twice(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "port=11435", "port=11434")
    stops(checkout, ["group_data/gpu.py: ollama_instances.light.port is 11434", "heavy has this one"])


def test_a_port_that_is_none(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "port=11435", "port=70000")
    stops(checkout, ["group_data/gpu.py: OllamaInstance light.port is 70000", "from 1 to 65535 (a TCP port)"])


def test_a_model_that_does_not_fit_its_card(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "weights_mib=4960", "weights_mib=9600")
    answer = [
        "group_data/gpu.py: gpus.GPU-bdb1f5e4 is asked for",
        "= 11030 MiB",
        "at most the 10240 MiB of the RTX 3080",
    ]
    stops(checkout, answer)


def test_a_whisper_model_that_the_requirements_refuse(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", 'model="large-v3-turbo"', 'model="large-v3"')
    stops(checkout, ["group_data/gpu.py: Whisper.model is 'large-v3'", "base, large-v3-turbo", "7.6 GB"])


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        (
            {
                'redis=(1,),\n                redis_user="litellm"': 'redis=(4,),\n                redis_user="litellm"'
            },
            [
                "stacks.litellm.litellm-proxy.redis is 4 as litellm",
                "an index of its own, as 4 is for langfuse",
            ],
        ),
        (
            {'"fast": "groq-fast",': '"fast": "groq-fats",'},
            ["aliases.fast is groq-fats", "did you mean groq-fast?"],
        ),
        (
            {
                '"groq-qwen3-32b": ("groq-llama4-scout", "groq-fast", "qwen3-light")': (
                    '"groq-qwen3-32b": ("groq-llama4-scout",)'
                ),
                '"groq-llama4-scout": ("groq-qwen3-32b", "groq-fast")': '"groq-llama4-scout": ("groq-qwen3-32b",)',
            },
            ["fallbacks.groq-qwen3-32b is a loop: groq-llama4-scout, groq-qwen3-32b", "add a last resort"],
        ),
        ({"max_connections=100": "max_connections=20"}, ["postgres", "max_connections"]),
        ({'Database("litellm",': 'Database("litellm", owner="",'}, ["Database litellm.owner is ''"]),
    ],
    ids=[
        "a Redis index of two",
        "an alias to nowhere",
        "a loop",
        "pools above the limit",
        "nobody's database",
    ],
)
def test_shared_services_that_do_not_fit_together(
    checkout: Path, changes: dict[str, str], answer: list[str]
) -> None:
    for old, new in changes.items():
        replace(checkout / "group_data/shared.py", old, new)
    stops(checkout, ["group_data/shared.py", *answer])


def test_all_problems_in_one_report(checkout: Path) -> None:
    replace(checkout / "group_data/gpu.py", "port=11435", "port=11434")
    replace(checkout / "group_data/all.py", "swappiness = 150", "swappiness = 900")
    stops(checkout, ["2 problems, nothing was changed:"])


def test_no_lab(checkout: Path) -> None:
    (checkout / ".lab/lab.json").unlink()
    stops(checkout, [".lab/lab.json: the lab is not there, but must be up; run `make lab`."])


def test_an_unknown_environment(checkout: Path) -> None:
    answer = ["SOURCEFAST_ENV is 'prod', but must be lab or production"]
    stops(checkout, answer, environment="prod")


def test_a_production_yaml_that_would_hang_a_run(checkout: Path) -> None:
    path = checkout / "production.yaml"
    path.write_text("a: &a [x]\n" + "".join(f"{name}: &{name} [*a, *a]\n" for name in "bcde"))
    stops(checkout, ["production.yaml: line 2, column 8 is an alias of a list"], environment="production")
    path.unlink()
    os.mkfifo(path)
    stops(checkout, ["production.yaml: the file is no regular file"], environment="production")


MISLEADING = """
hosts:
  "": {address: x}
  "@local": {address: x}
  i7_9700k: {address: x}
  a: {address: " ", port: 022, user: 2020-99-99, key: ~nouser/key, groups: []}
"""


def test_a_production_yaml_that_would_mislead_a_run(checkout: Path) -> None:
    (checkout / "production.yaml").write_text(MISLEADING)
    _, output = pyinfra(checkout, environment="production")
    assert [line.partition(", but")[0] for line in output.splitlines() if "production.yaml" in line] == [
        "  - production.yaml: the name of a host is ''",
        "  - production.yaml: the name of a host is '@local'",
        "  - production.yaml: the name of a host is i7_9700k, as a group is called",
        "  - production.yaml: hosts.a.address is ' '",
        "  - production.yaml: hosts.a.port is '022'",
        "  - production.yaml: hosts.a.user is '2020-99-99'",
        "  - production.yaml: hosts.a.key is '~nouser/key'",
        "  - production.yaml: hosts.a.groups is []",
    ]


def test_a_missing_file_of_group_data(checkout: Path) -> None:
    (checkout / "group_data/all.py").unlink()
    stops(checkout, ["group_data/all.py: the file is missing, but must be there; git restore"])


def test_group_files_that_end_a_run(checkout: Path) -> None:
    for name, line in {
        "all": "backup_hour: int",
        "gpu": "import sys; sys.exit(0)",
        "lab": "raise RuntimeError('why')",
        "production": "import nothing_of_that_name",
        "shared": "swap_gib = (",
    }.items():
        with (checkout / f"group_data/{name}.py").open("a") as file:
            file.write(f"\n{line}\n")
    status, output = pyinfra(checkout)
    assert status != 0
    for answer in (
        "group_data/all.py: backup_hour is an annotation without a value, but must be a key with its value.",
        "is refused (SystemExit: 0), but must be a declaration",
        "is refused (RuntimeError: why), but must be a declaration",
        "is refused (ModuleNotFoundError: No module named 'nothing_of_that_name')",
        "is no Python ('(' was never closed), but must be Python.",
    ):
        assert answer in output


def test_an_unreadable_production_yaml(checkout: Path) -> None:
    stops(checkout, ["production.yaml: the file is not there"], environment="production")
    (checkout / "production.yaml").write_text("hosts: [\n")
    stops(checkout, ["production.yaml: line 2, column 1 is no YAML"], environment="production")


def test_production_yaml_is_the_only_way_to_another_machine(checkout: Path) -> None:
    (checkout / "production.yaml").write_text(
        "hosts: {server: {address: 127.0.0.1, port: 2, key: .lab/id_ed25519, data: {swap_gib: 8}}}\n"
    )
    _, output = pyinfra(checkout, environment="production")
    assert "port 2 on 127.0.0.1" in output
    assert "port 1 on" not in output
    _, output = pyinfra(checkout)
    assert "port 1 on 127.0.0.1" in output
    assert "port 2 on" not in output


def test_problems_of_a_host_name_its_file_and_key(checkout: Path) -> None:
    (checkout / "production.yaml").write_text(
        "hosts: {server: {adress: 127.0.0.1, data: {swapgib: 8, gpus: []}, hardware_profile: i7}}\n"
    )
    status, output = pyinfra(checkout, environment="production")
    assert status != 0
    assert "4 problems, nothing was changed:" in output
    for key in ("adress is not", "address is missing", "data.swapgib is not", "data.gpus is set here"):
        assert f"production.yaml: hosts.server.{key}" in output


@pytest.mark.parametrize("value", ["hardwrae", "7", '["hardware","hardwrae"]'])
def test_an_unknown_phase(checkout: Path, value: str) -> None:
    shutil.copy(CHECKOUT / "deploy.py", checkout)
    (checkout / "phases/__init__.py").write_text(ONE_PHASE)
    (checkout / "fake.py").write_text(FAKE_HOST)
    run = in_checkout(checkout, "-y", "fake.py", "deploy.py", "--data", f"phase={value}")
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    assert "but must be one of hardware (0), all" in run.stdout


def test_help_needs_no_lab(checkout: Path) -> None:
    shutil.rmtree(checkout / ".lab")
    run = in_checkout(checkout, "--help")
    assert run.returncode == 0
    assert "INVENTORY" in run.stdout
