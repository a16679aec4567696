"""A container of openai-whisper-asr-webservice: how it was started, whether it answers, which models it has.

Source: https://github.com/ahmetoner/whisper-asr-webservice (app/config.py, app/webservice.py) and the cache layout of
huggingface_hub (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class WhisperAsrState:
    """The service.

    :param status: of the container: created, running, restarting, exited …; None without a container
    :param image: the reference it was made from
    :param settings: the environment variables that begin with ASR_
    :param gpus: ids of the GPUs that it asked for
    :param memory: limit in bytes, 0 for none
    :param answers: its documentation page is there; the service shows it only once its model is in memory
    :param models: folder of each model in its cache, and whether the model is there whole
    """

    status: str | None = None
    image: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    memory: int = 0
    answers: bool = False
    models: Mapping[str, bool] = field(default_factory=dict)

    def has(self, model: str) -> bool:
        """Whether a model of faster-whisper, by its short name ("large-v3-turbo"), is in the cache whole."""
        return any(
            whole and folder.endswith(f"--faster-whisper-{model}") for folder, whole in self.models.items()
        )


def parse(output: Iterable[str]) -> WhisperAsrState:
    """The answer of files/facts/whisper-asr.sh."""
    sections = dict(script.sections(output))
    inspected = "".join(sections.get("container", []))
    if not inspected:
        return WhisperAsrState()
    container = json.loads(inspected)
    settings = (variable.partition("=") for variable in container["settings"] if variable)
    models = (line.rpartition(" ") for line in sections.get("models", []) if line)
    return WhisperAsrState(
        status=container["status"],
        image=container["image"],
        settings={key: value for key, _, value in settings},
        gpus=tuple(gpu for request in container["devices"] or () for gpu in request["DeviceIDs"] or ()),
        memory=container["memory"],
        answers="200" in sections.get("docs", []),
        models={folder: state == "complete" for folder, _, state in models},
    )


class WhisperAsr(FactBase[WhisperAsrState]):
    """The service in one question.

    :param container: its name
    :param port: where it is published on the host's loopback
    """

    def command(self, container: str, port: int) -> StringCommand:
        """The script and its arguments."""
        return script.command("whisper-asr.sh", container, port)

    @staticmethod
    def default() -> WhisperAsrState:
        """No container."""
        return WhisperAsrState()

    def process(self, output: list[str]) -> WhisperAsrState:
        """Read the answer of `command`."""
        return parse(output)
