"""GPUs and what runs on them: Ollama's instances and models, whisper (requirements 1.4 and 4)."""

from __future__ import annotations

from typing import Annotated, Literal

from blueprint.model import types
from blueprint.model.declaration import Declaration, declaration
from blueprint.model.types import mebibytes
from blueprint.validation import Expected, Whole


@declaration()
class Gpu(Declaration):
    """A card of the machine.

    :param bus: PCI address as lspci prints it, "01:00.0"; known before there is a driver
    :param uuid: UUID or a prefix of it that no other card shares; indices change after a reboot, UUIDs do not
    :param model: product name without its maker, "RTX 3070"
    :param vram_mib: memory of the card in MiB
    :param power_limit_w: power limit in watts, or None for the card's own
    """

    bus: types.PciAddress
    uuid: Annotated[types.GpuUuid, Expected("GPU- and at least four digits of its UUID")]
    model: Annotated[types.SomeText, Expected("a product name")]
    vram_mib: Annotated[int, Whole(1024, 1024 * 1024, "MiB")]
    power_limit_w: Annotated[int, Whole(50, 1000, "W")] | None = None


@declaration()
class OllamaModel(Declaration):
    """A model, and the figures from which its VRAM is computed.

    :param name: as in Ollama's library, with its tag: "qwen3:8b"
    :param weights_mib: size of the weights as loaded, in MiB
    :param layers: transformer blocks
    :param kv_heads: key/value heads a block
    :param head_dim: width of a head
    """

    name: types.ModelTag
    weights_mib: types.Mebibytes
    layers: Annotated[int, Whole(1, 1000)]
    kv_heads: Annotated[int, Whole(1, 1000)]
    head_dim: Annotated[int, Whole(1, 10_000)]


@declaration()
class OllamaInstance(Declaration):
    """One `ollama@<name>.service`: one card, one port, one resident model.

    The hardware profile says how many requests it answers at once (`ollama_parallel`).

    :param name: the unit's instance, "heavy"
    :param gpu: `Gpu.uuid` of its card
    :param port: TCP port, reachable from containers only
    :param model: `OllamaModel.name`
    :param context_length: tokens of a request, at most; pinned, as the VRAM budget depends on it
    :param max_queue: requests that wait before Ollama answers 503
    """

    name: types.Name
    gpu: types.GpuUuid
    port: types.Port
    model: types.ModelTag
    context_length: Annotated[int, Whole(256, 1024 * 1024, "tokens")] = 4096
    max_queue: Annotated[int, Whole(1, 100_000, "requests")] = 64

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"ollama@{self.name}.service"

    @property
    def warmup_unit(self) -> str:
        """The unit that loads its model after each start."""
        return f"ollama-warmup@{self.name}.service"


@declaration()
class OllamaRelease(Declaration):
    """The pinned archive of Ollama.

    :param version: release, "0.15.2"
    :param sha256: of the archive, from the release's sha256sum.txt
    """

    version: types.Release
    sha256: types.Sha256

    @property
    def url(self) -> str:
        """Where the archive is."""
        return (
            f"https://github.com/ollama/ollama/releases/download/v{self.version}/ollama-linux-amd64.tar.zst"
        )


@declaration()
class Whisper(Declaration):
    """shared-whisper, the one speech recogniser of all projects (requirements 4.5).

    :param image: pinned image of openai-whisper-asr-webservice
    :param gpu: `Gpu.uuid` of its card
    :param model: faster-whisper model
    :param quantization: numbers that the weights are converted to (ASR_QUANTIZATION of the image)
    :param memory: limit of the container's RAM, "4g"
    :param vram_mib: its memory on the card, in MiB
    :param port: port on the host's loopback; containers reach it by name on the network
    :param name: container and host name
    :param cache_volume: volume that keeps the downloaded model
    :param pids: processes and threads that it may have at once
    """

    image: types.ImageReference
    gpu: types.GpuUuid
    model: types.WhisperModel
    quantization: Literal["int8", "float16", "float32"]
    memory: types.MemoryLimit
    vram_mib: types.Mebibytes
    port: types.Port = 9000
    name: types.HostName = "shared-whisper"
    cache_volume: types.Name = "whisper-cache"
    pids: types.Pids = 512

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"{self.name}.service"

    @property
    def url(self) -> str:
        """Its address for containers, on the image's own port."""
        return f"http://{self.name}:9000"

    @property
    def memory_mib(self) -> int:
        """Its limit, in MiB."""
        return mebibytes(self.memory)
