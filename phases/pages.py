"""One page a phase, made from its declarations: `make pages` writes docs/phases/."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blueprint import Blueprint, DeclarationError, group_data, render, render_problems
from blueprint.model import CronJob, Service, Stack
from blueprint.model.service import PIDS
from blueprint.stacks import private_network
from phases import phases_of, required_containers
from phases.phase import Phase

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "phases"


@dataclass(frozen=True)
class Page:
    """What the page of a phase shows."""

    phase: Phase
    stacks: tuple[Stack, ...]
    jobs: tuple[CronJob, ...]
    keys: tuple[str, ...]

    @property
    def services(self) -> tuple[Service, ...]:
        """Its containers."""
        return tuple(service for stack in self.stacks for service in stack.services)

    @property
    def file(self) -> str:
        """Name of its page."""
        return f"{self.phase.number}-{self.phase.name}.md"


def pages() -> Mapping[str, str]:
    """All pages by the names of their files, the one that counts the containers among them.

    :raises DeclarationError: the declarations are wrong
    """
    blueprint = group_data.read().blueprint("production")
    found = [_page(blueprint, phase) for phase in phases_of(blueprint)]
    texts = {page.file: _text(blueprint, page, found) for page in found}
    limits = {service.name: service.memory_mib for page in found for service in page.services}
    texts["README.md"] = render(
        "pages/phases.md.j2",
        pages=found,
        drawn=required_containers.drawn(),
        differences=list(required_containers.differences(limits)),
        whisper=blueprint.whisper.name,
        beside=list(_beside(blueprint)),
        containers=[*(service.name for page in found for service in page.services), blueprint.whisper.name],
    )
    return texts


def _text(blueprint: Blueprint, page: Page, others: list[Page]) -> str:
    return render(
        "pages/phase.md.j2",
        blueprint=blueprint,
        page=page,
        others=others,
        pids=PIDS,
        exceptions=[line for service in page.services for line in _exceptions(service)],
        private_network=private_network,
    )


def _exceptions(service: Service) -> Iterator[tuple[str, str, str]]:
    """The privileges that a container has and others do not, each with its reason."""
    name = service.name
    if service.root:
        yield name, "root", service.root
    for capability, reason in service.cap_add.items():
        yield name, f"`{capability}`", reason
    if service.writable:
        yield name, "writable", service.writable
    if service.pids != PIDS:
        yield name, f"{service.pids} processes and threads", "its threads count"


def _page(blueprint: Blueprint, phase: Phase) -> Page:
    jobs = tuple(job for job in blueprint.cron_jobs if job.phase == phase.name)
    secrets = tuple(sorted(phase.provided_secrets(blueprint)))
    return Page(phase, blueprint.stacks_of(phase.name), jobs, secrets)


def _beside(blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    """Containers beside those that requirements 2.1 draws, each with its reason."""
    drawn = {name for names in required_containers.drawn().values() for name in names}
    stacks = {service.name: stack.name for stack in blueprint.stacks for service in stack.services}
    for name in (*stacks, blueprint.whisper.name):
        if name not in drawn:
            other = f"of {stacks.get(name)}, which is not in the requirements"
            yield name, required_containers.BESIDE.get(name, other)


def main() -> int:
    """Write the pages of all phases, and remove pages of phases that no longer exist."""
    try:
        texts = pages()
    except DeclarationError as error:
        sys.stderr.write(f"{render_problems(error.problems)}\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
