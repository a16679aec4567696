"""A container of openai-whisper-asr-webservice that serves the model it is meant to."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.whisper_asr import WhisperAsr, WhisperAsrState
from operations import script
from operations.checks import Problem, failure, insist

MIB = 1024 * 1024
# Seconds that the first download of a model may take.
DOWNLOAD_S = 3600


@dataclass(frozen=True)
class Service:
    """What has to run.

    :param container: name of the container
    :param unit: of systemd, that runs it
    :param port: where it is published on the host's loopback
    :param image: reference that it is made from
    :param settings: environment variables that it was started with, ASR_MODEL among them
    :param gpu: UUID of its card, or the beginning of it
    :param memory_mib: its limit, in MiB
    """

    container: str
    unit: str
    port: int
    image: str
    settings: Mapping[str, str]
    gpu: str
    memory_mib: int


def problems(found: WhisperAsrState, wanted: Service) -> Iterator[Problem]:
    """In which ways the service is another than the wanted one."""
    restart = f"systemctl restart {wanted.unit}, and journalctl -u {wanted.unit} if it stays"
    if found.status != "running":
        yield Problem(wanted.unit, found.status or f"no container {wanted.container}", "running", restart)
        return
    facts = {
        "image": (found.image, wanted.image),
        "memory limit": (f"{found.memory // MIB} MiB", f"{wanted.memory_mib} MiB"),
        **{key: (found.settings.get(key, "not set"), value) for key, value in wanted.settings.items()},
    }
    for what, (actual, declared) in facts.items():
        if actual != declared:
            yield Problem(f"{what} of {wanted.container}", actual, declared, restart)
    if len(found.gpus) != 1 or not found.gpus[0].startswith(wanted.gpu):
        cards = ", ".join(found.gpus) or "no card"
        yield Problem(f"GPU of {wanted.container}", cards, f"{wanted.gpu} alone", restart)
    model = wanted.settings["ASR_MODEL"]
    if not found.has(model):
        there = (f"{folder} ({'whole' if whole else 'incomplete'})" for folder, whole in found.models.items())
        yield Problem(
            f"model of {wanted.container}",
            ", ".join(there) or "no model in its cache",
            f"{model}, whole",
            f"docker logs {wanted.container} says how far its download came; {restart}",
        )
    if not found.answers:
        yield Problem(
            wanted.container, f"no answer on 127.0.0.1:{wanted.port}/docs", "its documentation page", restart
        )


@operation()
def serves(service: Service) -> Generator[PyinfraCommand, None, None]:
    """The service answers, with the model and on the card that it is meant to.

    Where it does not answer yet, this waits for it: the first time it downloads its model. It does not answer before
    the model is in memory, so an answer of a container with these settings is an answer of that model. Then whatever
    is another than it should be fails the host, in one report.

    + service: what has to run
    """

    def look() -> WhisperAsrState:
        said: WhisperAsrState = host.get_fact(WhisperAsr, container=service.container, port=service.port)
        return said

    def silent(said: WhisperAsrState) -> list[str]:
        loading = said.has(service.settings["ASR_MODEL"]) and not said.answers
        return [service.container] if state.is_executing and loading else []

    found = insist(look, silent)
    if not found.answers:
        yield script.run(
            "whisper/wait.sh", service.container, service.port, DOWNLOAD_S, service.unit, stream=True
        )
        if state.is_executing:
            found = look()
    if not state.is_executing:
        return
    if wrong := list(problems(found, service)):
        yield failure(service.container, wrong)
    else:
        host.noop(f"{service.container} serves {service.settings['ASR_MODEL']}")
