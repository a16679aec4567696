"""The deploy as a whole: which phases, in which order, with which steps, against a host that pyinfra makes up."""

from __future__ import annotations

import json
import logging
import re
import runpy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_host, ctx_state

import phases
from blueprint import Secrets
from blueprint.applied import Applied
from facts.adoption import AdoptionState
from facts.folder import Names
from facts.written_values import WrittenValues
from phases import PHASES, Phase, adoption, leftovers, post_deploy, preflight
from phases.report import Report
from tests.unit.declared import declared
from tests.unit.facts.test_host import ANSWER
from tests.unit.hosts import command_line
from tests.unit.machines import machine
from tests.unit.paths import CHECKOUT

# --- which phases


class Host:
    """As much of pyinfra's host as deploy.py looks at."""

    name = "server"
    mark: list[str] = []  # noqa: RUF012 - never written to

    def __init__(self, phase: object, groups: list[str], recorded: list[str]) -> None:
        self.recorded = recorded
        blueprint = declared(phase=phase) if not isinstance(phase, list) else declared()
        values = {key: getattr(blueprint, key) for key in blueprint.__dataclass_fields__ if key != "sources"}
        self.groups = groups
        self.data = SimpleNamespace(dict=lambda: values | {"phase": phase}, get=values.get)

    def get_fact(self, fact: object, folder: str = "", places: Sequence[object] = ()) -> Any:
        """Names of the phases that are recorded on it, and of the profile that it is being upgraded to; no secrets."""
        if fact is WrittenValues:
            return {}
        assert fact is Names
        return {"/var/lib/sourcefast/phases": self.recorded, "/var/lib/sourcefast/upgrade": self.mark}[folder]


ALL = ("hardware", "litellm", "monitoring")


def deployed(
    monkeypatch: pytest.MonkeyPatch, phase: object, groups: list[str], recorded: Sequence[str] = ALL
) -> dict[str, set[str]]:
    """The phases that deploy.py applies to a host of these groups, each with the phases that the host has by then."""
    applied_phases: dict[str, set[str]] = {}

    def stand_in(name: str) -> Callable[..., None]:
        def note(applied: Applied, secrets: Secrets) -> None:
            applied_phases[name] = set(applied.phases)

        return note

    stand_ins = tuple(
        Phase(number, name, group, stand_in(name), depends_on=depends_on, summary=f"what {name} has")
        for number, name, group, depends_on in (
            (0, "hardware", "gpu", ()),
            (1, "litellm", "shared", ("hardware",)),
            (3, "monitoring", "shared", ("litellm",)),
        )
    )
    monkeypatch.setattr(phases, "PHASES", stand_ins)
    monkeypatch.setattr(leftovers, "report", lambda blueprint: None)
    ended: list[set[str]] = []
    monkeypatch.setattr(
        post_deploy, "post_deploy", lambda applied, secrets: ended.append(set(applied.phases))
    )
    monkeypatch.setattr(preflight, "require_unmanaged", lambda blueprint, stacks: None)
    monkeypatch.setattr(preflight, "unfit", lambda blueprint: ())
    whole = SimpleNamespace(has=lambda name: True, missing=lambda names: [], provided=lambda name: "provided")
    monkeypatch.setattr(Secrets, "open", lambda environment: whole)
    monkeypatch.setattr(adoption, "existing", lambda blueprint, stacks, secrets: AdoptionState())
    state = SimpleNamespace(callback_handlers=[], add_callback_handler=lambda handler: None)
    with ctx_host.use(Host(phase, groups, list(recorded))), ctx_state.use(state):
        runpy.run_path(str(CHECKOUT / "deploy.py"))
    # The end of the run follows once, with all phases; not after a run that applies none.
    assert ended == ([{*recorded, *applied_phases}] if applied_phases else [])
    return applied_phases


@pytest.mark.parametrize(
    ("phase", "names"),
    [
        ("all", ["hardware", "litellm", "monitoring"]),
        ("hardware", ["hardware"]),
        (0, ["hardware"]),
        (3, ["monitoring"]),
        ("monitoring,hardware", ["hardware", "monitoring"]),
        (["monitoring", 1], ["litellm", "monitoring"]),
    ],
)
def test_phases_in_their_order(monkeypatch: pytest.MonkeyPatch, phase: object, names: list[str]) -> None:
    assert list(deployed(monkeypatch, phase, ["gpu", "shared", "lab"])) == names


def test_a_phase_goes_where_its_group_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(deployed(monkeypatch, "all", ["gpu"])) == ["hardware"]
    assert list(deployed(monkeypatch, "all", ["shared"])) == ["litellm", "monitoring"]


def test_a_phase_that_a_host_is_not_for_is_not_left_out_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("pyinfra"), "propagate", True)  # its command line ends that
    caplog.set_level(logging.WARNING, "pyinfra")
    assert list(deployed(monkeypatch, "litellm", ["gpu"])) == []
    (message,) = caplog.messages
    assert "phase litellm is skipped: server is not in the group shared" in message


def test_a_fresh_machine_gets_one_phase_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployed(monkeypatch, "all", ["gpu", "shared"], recorded=()) == {
        "hardware": {"hardware"},
        "litellm": {"hardware", "litellm"},
        "monitoring": {"hardware", "litellm", "monitoring"},
    }


@pytest.mark.parametrize(
    ("phase", "recorded", "expected"),
    [
        (
            "hardware",
            [],
            ["--data phase=litellm deploys the next phase, a run without it all remaining ones"],
        ),
        (
            "litellm",
            ["hardware"],
            ["--data phase=monitoring deploys the next phase, a run without it all remaining ones"],
        ),
        ("hardware", ALL, []),
        ("all", [], []),
    ],
)
def test_a_run_that_leaves_phases_out_says_which_is_next(
    monkeypatch: pytest.MonkeyPatch, phase: str, recorded: Sequence[str], expected: list[str]
) -> None:
    reported: list[str] = []
    monkeypatch.setattr(Report, "next", lambda self, host, step: reported.append(step))
    deployed(monkeypatch, phase, ["gpu", "shared"], recorded)
    assert reported == expected


def test_a_phase_alone_knows_the_others_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployed(monkeypatch, "litellm", ["gpu", "shared"]) == {"litellm": set(ALL)}


def test_a_phase_alone_names_the_missing_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeployError) as refused:
        deployed(monkeypatch, "monitoring", ["gpu", "shared"], recorded=["hardware"])
    message = str(refused.value)
    assert "nothing was changed: 1 problem" in message
    assert "no litellm (what litellm has)" in message
    assert "--data phase=litellm,monitoring" in message


def test_phases_of_the_project() -> None:
    assert (PHASES[0].number, PHASES[0].name) == (0, "hardware")
    assert len({phase.number for phase in PHASES}) == len({phase.name for phase in PHASES}) == len(PHASES)


def test_what_runs_is_named() -> None:
    lines = list(PHASES[0].running(declared()))
    assert len(lines) == 4
    assert lines[0] == "ollama@heavy.service: qwen3:8b on the RTX 3080 at 03:00.0, port 11434"
    assert lines[-1] == (
        "shared-whisper.service: large-v3-turbo on the RTX 3060 Ti at 08:00.0, http://shared-whisper:9000"
    )


# --- phase hardware, prepared for a bare machine


@pytest.fixture
def bare(checkout: Path) -> Path:
    """The project, and a host that has what is declared and nothing installed: `fake.py`."""
    shutil.copy(CHECKOUT / "deploy.py", checkout)
    (checkout / "secrets").mkdir(mode=0o700)
    (checkout / "secrets/production.yaml").write_text('telegram: {token: "1:a", chat: "2"}\n')
    (checkout / "secrets/production.yaml").chmod(0o600)
    cards = [
        f"0000:{display.bus} VGA compatible controller [0300]: {display.name} [{display.id}] (rev a1)"
        for display in machine().displays
    ]
    before, rest = ANSWER.split("@@pci\n")
    answer = "\n".join([before + "@@pci", *cards, "@@disks" + rest.partition("@@disks")[2]])
    # Its clock is right whenever this runs, and its disk has room; nobody listens but sshd.
    for found, replaced in {
        "1795377665": "CLOCK",
        "   1\nSecureBoot enabled": "0",
        "219043332096 13958643712": "19043332096 213958643712",
        "*:11434": "*:11",
        "[::]:80 ": "[::]:81 ",
    }.items():
        assert found in answer
        answer = answer.replace(found, replaced)
    (checkout / "fake.py").write_text(
        "import time\n"
        f"ANSWER = {answer!r}\n"
        "fake = {'fake_delay': 0, 'fake_delay_jitter': 0, 'fake_responses':\n"
        "    {'@@$1': ANSWER.replace('CLOCK', str(int(time.time())))}}\n"
        "gpu = shared = celeron_g4930 = production = [('@fake/host', fake)]\n"
    )
    return checkout


def prepared(checkout: Path, *arguments: str) -> dict[str, Any]:
    """What `--dry --json` answers."""
    done = command_line(
        *("--dry", "--json", "fake.py", "deploy.py", *arguments),
        folder=checkout,
        environment={"SOURCEFAST_ENV": "production", "LC_ALL": "C.UTF-8"},
    )
    start = done.stdout.find('{"plan"')
    assert done.returncode == 0 and start >= 0, done.stdout
    answer: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout[start:])[0]
    return answer


def test_the_steps_of_phase_hardware(bare: Path) -> None:
    plan = prepared(bare, "--data", "phase=hardware")["plan"]
    names = [step["name"].split(" | ") for step in plan]
    assert {name[0] for name in names} == {"Phase 0: hardware"}
    parts = [name[1] for name in names]
    # As the checklist has it; the firewall before Docker, which then never runs without it.
    assert list(dict.fromkeys(parts)) == [
        "Base system",
        "NVIDIA driver and container toolkit",
        "SSH",
        "Firewall",
        "Docker",
        "Ollama",
        "shared-whisper",
        "Watchdog and cleanup",
        "Record of phase hardware",
    ]
    assert parts == sorted(parts, key=parts.index)
    # Everything would change but what no host answers: its distribution's repositories, and its sshd. Checks do not
    # judge what has not been made yet, and of what is not wanted there is nothing.
    unchanged = [step["name"].split(" | ")[-1] for step in plan if not step["hosts_with_change"]]
    assert unchanged == [
        "Components with the driver",
        "Every card answers",
        "No power limits",
        "No unit of power limits",
        "Keys only",
        "Each model is resident on its card",
    ]


def test_a_phase_by_number_is_the_same(bare: Path) -> None:
    assert [step["name"] for step in prepared(bare, "--data", "phase=0")["plan"]] == [
        step["name"] for step in prepared(bare, "--data", 'phase=["hardware"]')["plan"]
    ]


def output_of(checkout: Path, *arguments: str) -> str:
    """What a dry run that is refused says; in sentences."""
    done = command_line(
        *("--dry", "fake.py", "deploy.py", *arguments),
        folder=checkout,
        environment={"SOURCEFAST_ENV": "production", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_everything_that_is_in_the_way_is_in_one_report(bare: Path) -> None:
    """Provided secrets that its phases need, and what is wrong with the machine."""
    (bare / "secrets/production.yaml").write_text('telegram: {token: "1:a"}\nregistry: {password: "x"}\n')
    (bare / "fake.py").write_text(
        (bare / "fake.py").read_text().replace("GPU[0000:08", "").replace("08:00.0", "18:00.0")
    )
    output = output_of(bare, "--data", "phase=hardware,litellm")
    assert "nothing was changed: 6 problems\n" in output
    for key in ("groq/api_key", "openai/api_key", "gemini/api_key", "telegram/chat", "registry/user"):
        assert f"secrets/production.yaml: {key}\n" in output
    assert "- GPU at 08:00.0\n" in output


def test_everything_can_be_prepared_for_a_bare_machine(bare: Path) -> None:
    """The owner's first dry run, whole; leaving out what the machine is too small for, as it says."""
    (bare / "secrets/production.yaml").write_text(
        "telegram: {token: '1:a', chat: '2'}\ngroq: {api_key: g}\nopenai: {api_key: o}\ngemini: {api_key: m}\n"
        "spotify: {client_id: s, client_secret: t}\n"
        "genius: {api_token: u}\n"
    )
    host = bare / "fake.py"
    projects = "augmenter = voicejury"
    host.write_text(host.read_text().replace("gpu = shared", f"gpu = shared = {projects}"))
    output = output_of(bare)
    assert "nothing was changed: 1 problem\n- group_data/voicejury.py: memory\n" in output
    others = re.findall(r"leave it out \(--data (phase=[a-z_,]+)\)", output)
    plan = prepared(bare, "--data", *others)["plan"]
    parts = dict.fromkeys(step["name"].split(" | ")[0] for step in plan)
    assert list(parts) == [
        "Phase 0: hardware",
        "Phase 1: litellm",
        "Phase 3: monitoring",
        "Phase 2: augmenter",
        "Monitors, watch and backups",
        "Stacks that are no longer declared",
    ]


def test_a_phase_that_does_not_need_a_key_is_not_kept_from_running(bare: Path) -> None:
    assert prepared(bare, "--data", "phase=hardware")["plan"]


@pytest.mark.parametrize(
    ("text", "mode", "reported"),
    [
        (
            "telegram: {token: a, chat: b}\n",
            0o644,
            "the file's mode is 0644, but must be 0600; run `chmod 600",
        ),
        ("telegram: [\n", 0o600, "secrets/production.yaml: line 2, column 1 is no YAML"),
        (
            "telegram: {token: a, chat: b}\nregistry: {password: [a]}\n",
            0o600,
            "registry/password is a list, but must be text",
        ),
        ("telegram: {token: 'a\\', chat: b}\n", 0o600, "telegram/token\n    found:    a text with \\' or"),
    ],
)
def test_a_file_of_secrets_that_is_wrong(bare: Path, text: str, mode: int, reported: str) -> None:
    (bare / "secrets/production.yaml").write_text(text)
    (bare / "secrets/production.yaml").chmod(mode)
    assert reported in output_of(bare, "--data", "phase=hardware")


def test_text_where_secrets_nest(bare: Path) -> None:
    (bare / "secrets/production.yaml").write_text(
        "telegram: {token: '1:a', chat: '2'}\ngroq: {api_key: g}\nopenai: {api_key: o}\ngemini: {api_key: m}\n"
        "postgres: hunter2\n"
    )
    output = output_of(bare, "--data", "phase=hardware,litellm")
    assert "is below the text of postgres, but must be in a mapping postgres; move that text." in output
    assert "hunter2" not in output
