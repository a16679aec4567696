"""GPUs and what runs on them: Ollama's instances and models, whisper (requirements 1.4 and 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blueprint.model.declaration import Declaration, checking, mebibytes

_GPU_UUID_PREFIX = re.compile(r"GPU-[0-9a-f]{4}[0-9a-f-]{0,32}")
_PCI_BUS = re.compile(r"[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]")
_MODEL_TAG = re.compile(r"[a-z0-9][a-z0-9._/-]*:[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")

# faster-whisper's sizes that the image knows and that fit beside llama3.1:8b.
WHISPER_MODELS = frozenset({"tiny", "base", "small", "medium", "large-v3-turbo"})
WHISPER_REFUSED = {
    "large-v3": "large-v3 takes 7.6 GB and runs out of memory on an 8 GB card (requirements 4.5): use large-v3-turbo",
    "distil-large-v3": (
        "distil-large-v3 ignores language=fr on short audio and answers in English (requirements 4.5): "
        "use large-v3-turbo"
    ),
}
WHISPER_QUANTIZATIONS = frozenset({"int8", "float16", "float32"})


@dataclass(frozen=True, kw_only=True)
class Gpu(Declaration):
    """A card of the machine.

    :param bus: PCI address as lspci prints it, "01:00.0"; known before there is a driver
    :param uuid: UUID or a prefix of it that no other card shares; indices change after a reboot, UUIDs do not
    :param model: product name without its maker, "RTX 3070"
    :param vram_mib: memory of the card in MiB
    :param power_limit_w: power limit in watts, or None for the card's own
    """

    bus: str
    uuid: str
    model: str
    vram_mib: int
    power_limit_w: int | None = None

    def __post_init__(self) -> None:
        with checking(f"Gpu {self.uuid}") as check:
            check.matches("bus", self.bus, _PCI_BUS, "bus:device.function in lower case, such as 01:00.0")
            check.matches("uuid", self.uuid, _GPU_UUID_PREFIX, "GPU- and at least four digits of its UUID")
            check.that(isinstance(self.model, str) and self.model, "model", self.model, "a product name")
            check.integer("vram_mib", self.vram_mib, 1024, 1024 * 1024, "MiB")
            if self.power_limit_w is not None:
                check.integer("power_limit_w", self.power_limit_w, 50, 1000, "W")


@dataclass(frozen=True, kw_only=True)
class OllamaModel(Declaration):
    """A model, with the figures that say how much VRAM it takes.

    :param name: as in Ollama's library, with its tag: "qwen3:8b"
    :param weights_mib: size of the weights as loaded, in MiB
    :param layers: transformer blocks
    :param kv_heads: key/value heads a block
    :param head_dim: width of a head
    """

    name: str
    weights_mib: int
    layers: int
    kv_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        with checking(f"OllamaModel {self.name}") as check:
            check.matches(
                "name", self.name, _MODEL_TAG, "a model of Ollama's library with its tag, such as qwen3:8b"
            )
            check.integer("weights_mib", self.weights_mib, 1, 1024 * 1024, "MiB")
            check.integer("layers", self.layers, 1, 1000)
            check.integer("kv_heads", self.kv_heads, 1, 1000)
            check.integer("head_dim", self.head_dim, 1, 10000)


@dataclass(frozen=True, kw_only=True)
class OllamaInstance(Declaration):
    """One `ollama@<name>.service`: one card, one port, one resident model.

    How many requests it answers at once is the hardware profile's (`ollama_parallel`).

    :param name: the unit's instance, "heavy"
    :param gpu: `Gpu.uuid` of its card
    :param port: TCP port, reachable from containers only
    :param model: `OllamaModel.name`
    :param context_length: tokens a request may take; pinned so that the VRAM budget means something
    :param max_queue: requests that wait before Ollama answers 503
    """

    name: str
    gpu: str
    port: int
    model: str
    context_length: int = 4096
    max_queue: int = 64

    def __post_init__(self) -> None:
        with checking(f"OllamaInstance {self.name}") as check:
            check.name("name", self.name)
            check.matches("gpu", self.gpu, _GPU_UUID_PREFIX, "the uuid of a Gpu")
            check.port("port", self.port)
            check.matches("model", self.model, _MODEL_TAG, "the name of an OllamaModel, such as qwen3:8b")
            check.integer("context_length", self.context_length, 256, 1024 * 1024, "tokens")
            check.integer("max_queue", self.max_queue, 1, 100_000, "requests")

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"ollama@{self.name}.service"

    @property
    def warmup_unit(self) -> str:
        """The unit that loads its model after each start."""
        return f"ollama-warmup@{self.name}.service"


@dataclass(frozen=True, kw_only=True)
class OllamaRelease(Declaration):
    """The pinned archive of Ollama.

    :param version: release, "0.15.2"
    :param sha256: of the archive, from the release's sha256sum.txt
    """

    version: str
    sha256: str

    def __post_init__(self) -> None:
        with checking("ollama_release") as check:
            check.matches("version", self.version, _VERSION, "a release such as 0.15.2")
            check.sha256("sha256", self.sha256)

    @property
    def url(self) -> str:
        """Where the archive is."""
        return (
            f"https://github.com/ollama/ollama/releases/download/v{self.version}/ollama-linux-amd64.tar.zst"
        )


@dataclass(frozen=True, kw_only=True)
class Whisper(Declaration):
    """shared-whisper, the one speech recogniser of all projects (requirements 4.5).

    :param image: pinned image of openai-whisper-asr-webservice
    :param gpu: `Gpu.uuid` of its card
    :param model: faster-whisper model
    :param quantization: what the weights are converted to; the image reads it as ASR_QUANTIZATION
    :param memory: limit of the container's RAM, "4g"
    :param vram_mib: what it takes on its card, in MiB
    :param port: port on the host's loopback; containers reach it by name on the network
    :param name: container and host name
    :param cache_volume: volume that keeps the downloaded model
    :param pids: processes and threads that it may have at once
    """

    image: str
    gpu: str
    model: str
    quantization: str
    memory: str
    vram_mib: int
    port: int = 9000
    name: str = "shared-whisper"
    cache_volume: str = "whisper-cache"
    pids: int = 512

    def __post_init__(self) -> None:
        with checking("whisper") as check:
            check.image("image", self.image)
            check.matches("gpu", self.gpu, _GPU_UUID_PREFIX, "the uuid of a Gpu")
            check.one_of("model", self.model, WHISPER_MODELS, WHISPER_REFUSED.get(self.model, ""))
            check.one_of("quantization", self.quantization, WHISPER_QUANTIZATIONS)
            check.memory("memory", self.memory)
            check.integer("vram_mib", self.vram_mib, 1, 1024 * 1024, "MiB")
            check.port("port", self.port)
            check.name("name", self.name)
            check.name("cache_volume", self.cache_volume)
            check.integer("pids", self.pids, 16, 32_768, "processes and threads")

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"{self.name}.service"

    @property
    def url(self) -> str:
        """Where containers reach it: on the image's own port."""
        return f"http://{self.name}:9000"

    @property
    def memory_mib(self) -> int:
        """Its limit, in MiB."""
        return mebibytes(self.memory)
