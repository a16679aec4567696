"""Ollama instances that share a store of models, each with one model resident on a card of its own."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import state as run

from facts import cache
from facts.cache import cached_fact
from facts.ollama import Instances, InstanceState, LoadedModel, OllamaState
from operations import script
from operations.checks import check, failure, poll
from specs.problems import Problem

# registry/namespace/name:tag, as Ollama's own parser takes it.
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*(:[A-Za-z0-9._-]+)?")


@dataclass(frozen=True)
class Placement:
    """Where a model lives.

    :param instance: name of the unit's instance, "heavy" of "ollama@heavy.service"
    :param port: TCP port it listens on
    :param model: name of the model with its tag, "qwen3:8b"
    :param gpu: full UUID of the card that it may use
    :param yields_gpu: a container takes turns with it (requirements 4.2): its model is out of memory while that works,
        and until the next question
    """

    instance: str
    port: int
    model: str
    gpu: str
    yields_gpu: bool = False

    @property
    def unit(self) -> str:
        """Unit that runs it."""
        return f"ollama@{self.instance}.service"

    @property
    def warmup(self) -> str:
        """Unit that loads its model."""
        return f"ollama-warmup@{self.instance}.service"


def canonical(model: str) -> str:
    """A model's name as Ollama lists it: with the tag that it assumes by default."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def missing(state: OllamaState, placements: Iterable[Placement]) -> list[str]:
    """The models that no answering instance has in its store, each once, in the order of the placements."""
    stored = {tag for instance in state.instances.values() if instance for tag in instance.tags}
    models = dict.fromkeys(canonical(placement.model) for placement in placements)
    return [model for model in models if model not in stored]


@operation()
def models(placements: Sequence[Placement]) -> Generator[script.Script, None, None]:
    """Pull the models that are not in the store yet.

    One instance pulls them all, one after the other: the instances share their store, and two of them that
    write the same layer would spoil it. Progress is shown as it comes.

    + placements: instances that share one store, with their models

    Raises `OperationValueError` for a name that is no model's.
    """
    for placement in placements:
        if not MODEL.fullmatch(placement.model):
            raise OperationValueError(
                f"instance {placement.instance}: {placement.model!r} is no name of a model, such as qwen3:8b"
            )
    state = _read_state(placements)
    pulls = missing(state, placements)
    if not pulls:
        host.noop("every model is in the store")
        return
    answering = (placement.port for placement in placements if state.instances.get(placement.port))
    port = next(answering, placements[0].port)  # none answers while a first run is prepared; the script waits
    for model in pulls:
        yield script.run("ollama/pull.sh", port, model, stream=True)


def unanswered(state: OllamaState, placements: Iterable[Placement], version: str | None) -> list[Problem]:
    """The problems of `answers`."""
    problems = []
    for placement in placements:
        instance = state.instances.get(placement.port)
        if instance is None:
            problems.append(_silent(placement))
        elif version is not None and instance.version != version:
            problems.append(
                Problem(
                    what=placement.unit,
                    found=f"version {instance.version} on port {placement.port}",
                    expected=f"version {version}",
                    remedy=f"systemctl restart {placement.unit}; if it stays, another program holds the port "
                    f"(ss -ltnp sport = :{placement.port})",
                )
            )
    return problems


@check
def answers(placements: Sequence[Placement], version: str | None = None) -> Iterable[Problem]:
    """Every instance answers on its port, and is the version that is installed.

    + placements: the instances
    + version: release they have to be, "0.15.2"; None takes any
    """
    return unanswered(_read_state(placements), placements, version)


def misplaced(state: OllamaState, placements: Iterable[Placement]) -> list[Problem]:
    """The problems of `resident`: one for each instance, the first in the order of cause and effect."""
    return [problem for placement in placements if (problem := _misplaced(state, placement))]


def unloaded(state: OllamaState, placements: Iterable[Placement]) -> list[Placement]:
    """Those that answer, and do not have their model in memory."""
    return [
        placement
        for placement in placements
        if (instance := state.instances.get(placement.port)) and not _in_memory(instance, placement)
    ]


@operation()
def resident(placements: Sequence[Placement]) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Load every model into memory, wholly on the GPU that is declared for it; fail where one is not.

    A model that somebody unloaded is loaded again, unless another program computes on its card now.

    + placements: the instances with their models and cards
    """
    # In a run, not an answer from before: a model that was on its way then has come by itself.
    state = _read_again(placements) if run.is_executing else _read_state(placements)
    if lost := [one for one in unloaded(state, placements) if not state.others(one.gpu, one.unit)]:
        yield StringCommand("systemctl", "restart", *(placement.warmup for placement in lost))
        state = _read_again(placements)
    if not run.is_executing:
        return  # what the run will do for them is not done yet
    # Also for a model that yields its card at other times: one that was just loaded has to be there.
    expected = [replace(one, yields_gpu=one.yields_gpu and one not in lost) for one in placements]
    if problems := misplaced(state, expected):
        yield failure("resident", problems)
    elif not lost:
        host.noop("as it should be")


def _read_state(placements: Sequence[Placement]) -> OllamaState:
    """An instance that does not answer is asked again, unless the run is being prepared, which may bring it."""
    ports = [placement.port for placement in placements]

    def silent(state: OllamaState) -> list[str]:
        return [one.unit for one in placements if run.is_executing and not state.instances.get(one.port)]

    state: OllamaState = poll(lambda: cached_fact(Instances, ports=ports), silent)
    return state


def _read_again(placements: Sequence[Placement]) -> OllamaState:
    cache.clear()
    return _read_state(placements)


def _misplaced(state: OllamaState, placement: Placement) -> Problem | None:
    instance = state.instances.get(placement.port)
    if instance is None:
        return _silent(placement)
    expected = f"{placement.model} wholly on {placement.gpu}"
    model = _in_memory(instance, placement)
    if model is None and placement.yields_gpu:
        return None
    if model is None:
        others = ", ".join(model.model for model in instance.loaded)
        return Problem(
            what=placement.unit,
            found=f"in memory: {others or 'nothing'}",
            expected=expected,
            remedy=f"systemctl restart {placement.warmup}, and journalctl -u {placement.warmup} if that fails",
        )
    if model.size_vram < model.size:
        return Problem(
            what=placement.unit,
            found=f"{placement.model} with {_share(model)}; the CPU computes the rest",
            expected=expected,
            remedy="free the card (nvidia-smi shows who is on it), or lower the instance's context length or "
            f"number of parallel requests; then systemctl restart {placement.unit}",
        )
    cards = state.cards(placement.unit)
    if cards != (placement.gpu,):
        return Problem(
            what=placement.unit,
            found=f"computing on {', '.join(cards) or 'no card that nvidia-smi knows'}",
            expected=expected,
            remedy=f"compare CUDA_VISIBLE_DEVICES of the instance's environment file with nvidia-smi -L, then "
            f"systemctl restart {placement.unit}",
        )
    return None


def _in_memory(instance: InstanceState, placement: Placement) -> LoadedModel | None:
    name = canonical(placement.model)
    return next((model for model in instance.loaded if model.model == name), None)


def _silent(placement: Placement) -> Problem:
    return Problem(
        what=placement.unit,
        found=f"no answer on port {placement.port}",
        expected="its API",
        remedy=f"journalctl -u {placement.unit} -n 50, then systemctl restart {placement.unit}",
    )


def _share(model: LoadedModel) -> str:
    percent = 100 * model.size_vram // model.size
    return f"{percent} % on the GPU ({model.size_vram / 2**30:.1f} of {model.size / 2**30:.1f} GiB)"
