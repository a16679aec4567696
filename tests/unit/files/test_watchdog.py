"""The GPU watchdog as cron runs it: with a fake driver, journal and systemd, and a small Telegram."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blueprint.render import render
from tests.unit.paths import CHECKOUT

SCRIPTS = ("common/incidents.py", "gpu/gpu-watchdog.sh", "gpu/gpu_watchdog.py")
TOKEN = "123456:not-a-real-token"  # noqa: S105 - made up
HEAVY = "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9"
LIGHT = "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"


class Service(ThreadingHTTPServer):
    """A server that keeps what it was sent and can answer with an error."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, Any]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"version":"0.15.2"}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.received.append((self.path, body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"ok":true,"result":{}}')

    def log_message(self, *args: object) -> None:
        pass


class Machine:
    """A host with two cards and two instances, healthy until a test breaks something."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.telegram = Service()
        self.instances = {"heavy": Service(), "light": Service()}
        self.state = folder / "state" / "gpu-watchdog.json"
        self.secret = folder / "telegram.ini"
        self.secret.write_text(render("gpu/telegram.ini.j2", token=TOKEN, chat="-100"))
        self.config = folder / "gpu-watchdog.ini"
        text = render(
            "gpu/gpu-watchdog.ini.j2",
            alert={
                "host": "sourcefast",
                "telegram": self.secret,
                "telegram_api": f"http://127.0.0.1:{self.telegram.port}",
            },
            state=self.state,
            vram_percent=90,
            vram_runs=2,
            xid_quiet_min=30,
            answer_s=0.2,
            gpus=[
                {"uuid": LIGHT, "name": "RTX 3070", "bus": "01:00.0"},
                {"uuid": HEAVY, "name": "RTX 3080", "bus": "03:00.0"},
            ],
            instances=[
                {"name": name, "port": service.port, "unit": f"ollama@{name}.service", "gpu": gpu}
                for (name, service), gpu in zip(self.instances.items(), (HEAVY, LIGHT), strict=True)
            ],
        )
        self.config.write_text(text)
        self.scripts = folder / "scripts"  # all in one folder, as on the host
        self.scripts.mkdir()
        for script in SCRIPTS:
            shutil.copy(CHECKOUT / "files" / script, self.scripts)
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.cards({LIGHT: 4115, HEAVY: 5843})
        self.program("journalctl", "")
        self.program("systemctl", f'echo "$@" >>{folder}/systemctl')

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def cards(self, used: dict[str, int], status: int = 0, output: str = "") -> None:
        """What nvidia-smi answers: the memory used on each present card of 8192 MiB."""
        lines = [f"echo '{uuid}, {mib}, 8192'" for uuid, mib in used.items()]
        self.program(
            "nvidia-smi", "\n".join([*lines, f"echo '{output}'" if output else "", f"exit {status}"])
        )

    def journal(self, *messages: tuple[float, str]) -> None:
        lines = [
            json.dumps({"__REALTIME_TIMESTAMP": str(int(when * 1e6)), "MESSAGE": text})
            for when, text in messages
        ]
        (self.folder / "journal").write_text("".join(f"{line}\n" for line in lines))
        self.program("journalctl", f"cat {self.folder}/journal")

    def run(self) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["/bin/sh", str(self.scripts / "gpu-watchdog.sh"), "--config", str(self.config)],
            env={
                "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
            },  # cron's, not that of a person's shell
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        assert TOKEN not in done.stdout
        return done

    def messages(self) -> list[str]:
        """Run once, and return what Telegram received in that run, without sign, host and time."""
        before = len(self.telegram.received)
        self.run()
        return [body["text"].split(": ", 1)[1] for _, body in self.telegram.received[before:]]

    @property
    def restarts(self) -> list[str]:
        path = self.folder / "systemctl"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for service in (machine.telegram, *machine.instances.values()):
        service.stop()


def test_a_healthy_host_reports_nothing(machine: Machine) -> None:
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert machine.telegram.received == []
    assert machine.restarts == []


def test_message_goes_to_the_bot_and_chat(machine: Machine) -> None:
    machine.cards({LIGHT: 100})
    machine.run()
    ((path, body),) = machine.telegram.received
    assert path == f"/bot{TOKEN}/sendMessage"
    assert body["chat_id"] == "-100"
    assert body["text"].startswith("🔴 sourcefast ")


def test_missing_card_once_and_back_once(machine: Machine) -> None:
    machine.cards({LIGHT: 100})
    text = "GPU missing: RTX 3080 at 03:00.0 (GPU-bdb1f5e4)"
    assert machine.messages() == [text]
    assert machine.messages() == []
    machine.cards({LIGHT: 100, HEAVY: 100})
    assert machine.messages() == [f"over: {text}"]
    assert machine.messages() == []
    assert machine.restarts == []


def test_lost_card_beside_the_others(machine: Machine) -> None:
    machine.cards(
        {LIGHT: 100}, status=15, output="Unable to determine the device handle for GPU0: GPU is lost."
    )
    assert [text.split(":")[0] for text in machine.messages()] == ["GPU missing"]


def test_silent_driver_is_one_incident(machine: Machine) -> None:
    machine.cards({LIGHT: 100})
    machine.run()
    machine.cards({}, status=9, output="NVIDIA-SMI has failed")
    assert machine.messages() == [
        "the NVIDIA driver does not answer: nvidia-smi ended with 9: NVIDIA-SMI has failed"
    ]
    machine.cards({LIGHT: 100})  # the missing card still is, and was not reported as back meanwhile
    assert [text[:25] for text in machine.messages()] == ["over: the NVIDIA driver d"]


def test_no_driver_at_all(machine: Machine) -> None:
    (machine.programs / "nvidia-smi").unlink()
    (text,) = machine.messages()
    assert "nvidia-smi ended with 127" in text


def test_full_memory_counts_in_the_second_run(machine: Machine) -> None:
    machine.cards({LIGHT: 8000, HEAVY: 5843})
    assert machine.messages() == []
    assert machine.messages() == ["VRAM 98 % full (8000 of 8192 MiB): RTX 3070 at 01:00.0 (GPU-85c38fae)"]
    assert machine.messages() == []
    machine.cards({LIGHT: 7372, HEAVY: 5843})  # 90 % is not above 90 %
    assert [text[:11] for text in machine.messages()] == ["over: VRAM "]


def test_full_memory_for_a_moment_is_nothing(machine: Machine) -> None:
    for used in (8000, 100, 8000, 100):
        machine.cards({LIGHT: used, HEAVY: 100})
        assert machine.messages() == []


def test_dead_instance_is_restarted_once(machine: Machine) -> None:
    machine.instances["heavy"].status = 500
    port = machine.instances["heavy"].port
    text = f"Ollama heavy does not answer on port {port}"
    assert machine.messages() == [f"{text}; ollama@heavy.service restarted"]
    assert machine.messages() == []
    assert machine.restarts == ["restart ollama@heavy.service"]
    machine.instances["heavy"].status = 200
    assert machine.messages() == [f"over: {text}"]
    machine.instances["heavy"].status = 500
    machine.run()
    assert len(machine.restarts) == 2  # another incident


def test_restart_that_fails_is_reported(machine: Machine) -> None:
    machine.instances["light"].status = 500
    machine.program("systemctl", "echo 'Unit is masked.'; exit 1")
    (text,) = machine.messages()
    assert text.endswith("; restart of ollama@light.service failed: Unit is masked.")


def test_instance_without_its_card_is_left_alone(machine: Machine) -> None:
    machine.instances["heavy"].status = 500
    machine.cards({LIGHT: 100})
    assert [text.split(":")[0] for text in machine.messages()] == ["GPU missing"]
    assert machine.restarts == []
    machine.cards({LIGHT: 100, HEAVY: 100})
    assert [text.split(" ")[0] for text in machine.messages()] == ["Ollama", "over:"]


def test_open_incident_of_an_instance_waits_for_its_card(machine: Machine) -> None:
    machine.instances["heavy"].status = 500
    machine.run()
    machine.instances["heavy"].status = 200
    machine.cards({LIGHT: 100})
    assert [text.split(":")[0] for text in machine.messages()] == ["GPU missing"]


def xid(code: int, bus: str = "0000:03:00") -> str:
    return f"NVRM: Xid (PCI:{bus}): {code}, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_driver_error_until_it_is_quiet(machine: Machine) -> None:
    machine.run()
    machine.journal((time.time(), "usb 1-1: new device"), (time.time(), xid(79)))
    (text,) = machine.messages()
    assert text.startswith("GPU error on RTX 3080 at 03:00.0 (GPU-bdb1f5e4): Xid 79: pid=")
    assert machine.messages() == []  # the journal still has it; it was read
    memory = json.loads(machine.state.read_text())
    memory["notes"]["xids"]["03:00"] -= 31 * 60
    machine.state.write_text(json.dumps(memory))
    assert machine.messages() == [f"over: {text}"]
    assert machine.messages() == []


def test_history_of_the_machine_is_not_an_incident(machine: Machine) -> None:
    machine.journal((time.time() - 3600, xid(31)))
    assert machine.messages() == []


def test_unreadable_journal_is_read_again(machine: Machine) -> None:
    machine.run()
    when = time.time()
    machine.program("journalctl", "exit 1")
    machine.run()
    machine.journal((when, xid(79)))
    assert len(machine.messages()) == 1


def test_journal_is_asked_from_where_it_was_read(machine: Machine) -> None:
    machine.run()
    since = json.loads(machine.state.read_text())["notes"]["journal_since"]
    machine.program("journalctl", f'echo "$@" >{machine.folder}/arguments')
    machine.run()
    assert f"-t kernel --since=@{int(since)} -o json" in (machine.folder / "arguments").read_text()


def test_dead_telegram_loses_nothing(machine: Machine) -> None:
    machine.telegram.status = 502
    machine.instances["heavy"].status = 500
    done = machine.run()
    assert done.returncode == 1
    assert "Telegram answered: 502" in done.stdout
    assert machine.restarts == ["restart ollama@heavy.service"]
    machine.instances["heavy"].status = 200
    assert machine.run().returncode == 1
    machine.telegram.status = 200
    assert [text.split(" ")[0] for text in machine.messages()] == ["Ollama", "over:"]  # in their order
    assert machine.run().returncode == 0
    assert machine.messages() == []


def test_telegram_that_is_not_there(machine: Machine) -> None:
    machine.telegram.stop()
    machine.cards({LIGHT: 100})
    done = machine.run()
    assert done.returncode == 1
    assert "the next run tries again" in done.stdout


def test_missing_token_does_not_stop_the_watch(machine: Machine) -> None:
    machine.secret.write_text(f"token {TOKEN}\n")  # malformed: the parser's message would quote it
    machine.instances["heavy"].status = 500
    assert machine.run().returncode == 1
    assert len(machine.restarts) == 1


def test_spoilt_memory_is_forgotten(machine: Machine) -> None:
    machine.run()
    machine.state.write_text('{"incidents": ')
    done = machine.run()
    assert done.returncode == 0
    assert "unreadable state, starting without it" in done.stdout


@pytest.mark.parametrize(
    "spoil",
    [
        ("vram_percent = 90", "vram_percent = much"),
        ("state =", "stat ="),
        ("telegram_api = http", "telegram_api = file"),
        ("[watchdog]", ""),
    ],
)
def test_wrong_configuration(machine: Machine, spoil: tuple[str, str]) -> None:
    machine.config.write_text(machine.config.read_text().replace(*spoil))
    done = machine.run()
    assert done.returncode == 2
    assert f"wrong configuration: {machine.config}: " in done.stdout
    assert not machine.state.exists()


def test_token_is_in_no_argument_list(machine: Machine) -> None:
    """Programs are started without it: nothing that this user runs shows it."""
    machine.program(
        "nvidia-smi", f"tr '\\0' ' ' </proc/$PPID/cmdline >{machine.folder}/seen; env >>{machine.folder}/seen"
    )
    machine.run()
    assert TOKEN not in (machine.folder / "seen").read_text()
