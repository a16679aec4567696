"""A container of openai-whisper-asr-webservice and the model that it serves."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.whisper_asr import WhisperAsr, WhisperAsrState
from operations import script
from operations.checks import failure, poll
from specs.problems import Problem

MIB = 1024 * 1024
# Seconds that the first download of a model may take.
DOWNLOAD_S = 3600


@dataclass(frozen=True)
class WhisperService:
    """The declared service.

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


def problems(actual: WhisperAsrState, desired: WhisperService) -> Iterator[Problem]:
    """A problem for each difference between the service and the declared one."""
    restart = f"systemctl restart {desired.unit}, and journalctl -u {desired.unit} if it stays"
    if actual.status != "running":
        yield Problem(desired.unit, actual.status or f"no container {desired.container}", "running", restart)
        return
    facts = {
        "image": (actual.image, desired.image),
        "memory limit": (f"{actual.memory // MIB} MiB", f"{desired.memory_mib} MiB"),
        **{key: (actual.settings.get(key, "not set"), value) for key, value in desired.settings.items()},
    }
    for what, (found, expected) in facts.items():
        if found != expected:
            yield Problem(f"{what} of {desired.container}", found, expected, restart)
    if len(actual.gpus) != 1 or not actual.gpus[0].startswith(desired.gpu):
        cards = ", ".join(actual.gpus) or "no card"
        yield Problem(f"GPU of {desired.container}", cards, f"{desired.gpu} alone", restart)
    model = desired.settings["ASR_MODEL"]
    if not actual.has(model):
        models = (
            f"{folder} ({'whole' if whole else 'incomplete'})" for folder, whole in actual.models.items()
        )
        yield Problem(
            f"model of {desired.container}",
            ", ".join(models) or "no model in its cache",
            f"{model}, whole",
            f"docker logs {desired.container} says how far its download came; {restart}",
        )
    if not actual.answers:
        yield Problem(
            desired.container,
            f"no answer on 127.0.0.1:{desired.port}/docs",
            "its documentation page",
            restart,
        )


@operation()
def serves(service: WhisperService) -> Generator[PyinfraCommand, None, None]:
    """The service answers, with the declared model and on the declared card.

    Where it does not answer yet, this waits for it: the first time it downloads its model. It does not answer before
    the model is in memory, so an answer of a container with these settings is an answer of that model. Then one
    report has every difference, and fails the host.

    + service: what has to run
    """

    def read() -> WhisperAsrState:
        actual: WhisperAsrState = host.get_fact(WhisperAsr, container=service.container, port=service.port)
        return actual

    def silent(actual: WhisperAsrState) -> list[str]:
        loading = actual.has(service.settings["ASR_MODEL"]) and not actual.answers
        return [service.container] if state.is_executing and loading else []

    actual = poll(read, silent)
    if not actual.answers:
        yield script.run(
            "whisper/wait.sh", service.container, service.port, DOWNLOAD_S, service.unit, stream=True
        )
        if state.is_executing:
            actual = read()
    if not state.is_executing:
        return
    if wrong := list(problems(actual, service)):
        yield failure(service.container, wrong)
    else:
        host.noop(f"{service.container} serves {service.settings['ASR_MODEL']}")
