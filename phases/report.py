"""Output about a run: progress while a step takes long, and a report at its end, as text and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import gevent
from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import BaseStateCallback, State

HEARTBEAT_S = 10
SLOWEST = 5


@dataclass
class _Step:
    name: str
    seconds: float
    outcome: OperationMeta  # complete only after pyinfra's callback


@dataclass(frozen=True)
class Timed:
    """A step, and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What a run did to a host.

    :param steps: number of those that were completed
    :param changed: those that changed something, in their order
    :param slowest: those that took longest, the longest first
    :param failed: the step that failed, or None after a run that succeeded
    :param running: what runs on it after a run that succeeded
    :param warnings: budgets that are near their limits, each as a sentence
    :param login: command that logs in to it
    :param next: what a person does next
    """

    host: str
    steps: int
    changed: tuple[Timed, ...]
    slowest: tuple[Timed, ...]
    failed: str | None
    running: tuple[str, ...]
    warnings: tuple[str, ...]
    login: str
    next: str

    def lines(self) -> list[str]:
        """For a person."""
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        lines = [f"{self.host}: {count}, {len(self.changed)} changed something"]
        lines += [f"  changed  {step.name} ({step.seconds:.1f} s)" for step in self.changed]
        # A step's name begins with the deploys around it; the last part is its own.
        short = (f"{step.name.split(' | ')[-1]} {step.seconds:.1f} s" for step in self.slowest)
        lines += [f"  slowest  {', '.join(short)}"] if self.slowest else []
        lines += [f"  failed   {self.failed}"] if self.failed else []
        lines += [f"  running  {service}" for service in self.running]
        lines += [f"  warning  {sentence}" for sentence in self.warnings]
        lines += [f"  login    {self.login}"] if self.login else []
        lines += [f"  next     {self.next}"] if self.next else []
        return lines


@dataclass
class Report(BaseStateCallback):
    """Follows one run through pyinfra's callbacks.

    It reads three keys of a host's data: `report_login`, the command that logs in to the host; `report_next_step`, what
    a person does after a run that applied everything; and `report`, the file for the reports of all hosts as JSON.
    """

    steps: dict[str, list[_Step]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    services: dict[str, list[str]] = field(default_factory=dict)
    budget_warnings: dict[str, list[str]] = field(default_factory=dict)
    next_steps: dict[str, str] = field(default_factory=dict)
    reports: list[HostReport] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)
    _started: dict[tuple[str, str], float] = field(default_factory=dict)
    _heartbeats: dict[tuple[str, str], gevent.Greenlet] = field(default_factory=dict)

    @classmethod
    def follow(cls, state: State) -> Report:
        """Follow a run; once, however many hosts load the deploy."""
        for handler in state.callback_handlers:
            if isinstance(handler, cls):
                return handler
        report = cls()
        state.add_callback_handler(report)  # type: ignore[no-untyped-call]  # pyinfra's own
        # pyinfra reports an operation's exception in one sentence at the end of the run. gevent would add a traceback
        # of pyinfra's internals, in which that sentence is easily missed.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)
        return report

    def running(self, host: Host, services: Iterable[str]) -> None:
        """Add what runs on a host after a run that succeeded."""
        self.services.setdefault(host.name, []).extend(services)

    def warnings(self, host: Host, sentences: Iterable[str]) -> None:
        """Add the budgets of a host that are near their limits."""
        self.budget_warnings[host.name] = list(sentences)

    def next(self, host: Host, step: str) -> None:
        """Set what a person does after a run that succeeded, in place of the host's own next step."""
        self.next_steps[host.name] = step

    # pyinfra calls these on the handler itself, so they are methods here, where its base class has static ones.
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        """A step begins: report progress from now on."""
        if op_hash not in state.ops[host]:
            return  # another host's: pyinfra skips it here, and calls no callback at its end
        key = (host.name, op_hash)
        self._started[key] = time.monotonic()
        self._heartbeats[key] = gevent.spawn(self._beat, _name(state, op_hash), self._started[key])

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        seconds = self._finish(host, op_hash)
        outcome = state.get_op_data_for_host(host, op_hash).operation_meta
        self.steps.setdefault(host.name, []).append(_Step(_name(state, op_hash), seconds, outcome))

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._finish(host, op_hash)
        self.failed[host.name] = _name(state, op_hash)

    def host_disconnect(self, state: State, host: Host) -> None:  # type: ignore[override]
        """Report at the end of the run."""
        # pyinfra calls no callback for an operation that raised: it started and did not finish.
        unfinished = (key[1] for key in self._started if key[0] == host.name)
        if (broken := next(unfinished, None)) is not None:
            self.failed.setdefault(host.name, _name(state, broken))
        steps = self.steps.get(host.name, [])
        if not steps and host.name not in self.failed:
            return
        report = self._of(host, steps)
        self.reports.append(report)
        logger.info("--> Report")
        for line in report.lines():
            logger.info(f"    {line}")
        if path := host.data.get("report"):
            self._write(Path(path))

    def _of(self, host: Host, steps: list[_Step]) -> HostReport:
        failed = self.failed.get(host.name)
        own = self.next_steps.get(host.name) or host.data.get("report_next_step") or ""
        return HostReport(
            host=host.name,
            steps=len(steps),
            changed=tuple(
                _timed(step) for step in steps if step.outcome.is_complete() and step.outcome.did_change()
            ),
            slowest=tuple(_timed(step) for step in sorted(steps, key=lambda step: -step.seconds)[:SLOWEST]),
            failed=failed,
            running=() if failed else tuple(self.services.get(host.name, ())),
            warnings=tuple(self.budget_warnings.get(host.name, ())),
            login=host.data.get("report_login") or "",
            next="fix what the messages above name, then run the same again" if failed else own,
        )

    def _write(self, path: Path) -> None:
        """Write the reports of all hosts that are done, in one step: on an error the previous file stays."""
        report = {
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._begun, 1),
            "hosts": [asdict(report) for report in self.reports],
        }
        new = path.with_name(f".{path.name}.new")
        try:
            new.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            new.replace(path)
        except OSError as error:  # the run itself succeeded
            logger.warning(f"    the report could not be written to {path}: {error.strerror}")

    def _finish(self, host: Host, op_hash: str) -> float:
        key = (host.name, op_hash)
        self._heartbeats.pop(key).kill()
        return time.monotonic() - self._started.pop(key)

    def _beat(self, name: str, started: float) -> None:
        while True:
            gevent.sleep(HEARTBEAT_S)
            logger.info(f"    … {name}: {time.monotonic() - started:.0f} s")


def _timed(step: _Step) -> Timed:
    return Timed(step.name, round(step.seconds, 1))


def _name(state: State, op_hash: str) -> str:
    return ", ".join(state.get_op_meta(op_hash).names)
