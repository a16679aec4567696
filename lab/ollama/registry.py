"""Ollama's model registry as static files: `v2/library/<model>/manifests/<tag>` and `…/blobs/sha256:<hex>`.

A model's layer is small here; what the stand-in needs to know of the real weights (size, layers, heads) is in it, under
the keys that GGUF files have.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

LAYER_BYTES = 512 * 1024
"""Size of a model's layer: large enough to be seen arriving."""
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Weights:
    """A real model: weights of `mib` MiB in 4 bits (Q4_K_M), and the shape of its attention."""

    name: str
    family: str
    parameters: str
    mib: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    embedding: int
    context: int
    capabilities: tuple[str, ...]

    @property
    def facts(self) -> dict[str, object]:
        shape = {
            "block_count": self.layers,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads,
            "attention.key_length": self.head_dim,
            "attention.value_length": self.head_dim,
            "embedding_length": self.embedding,
            "context_length": self.context,
        }
        return {
            "general.architecture": self.family,
            "general.file_type": 15,
            "general.parameter_count": int(float(self.parameters.removesuffix("B")) * 1e9),
            **{f"{self.family}.{key}": value for key, value in shape.items()},
            "standin.weights_bytes": self.mib * 1024 * 1024,
            "standin.capabilities": ["completion", *self.capabilities],
        }


# Shapes from the models' published configurations, sizes from Ollama's library.
MODELS = (
    Weights("qwen3:8b", "qwen3", "8.2B", 4983, 36, 32, 8, 128, 4096, 40960, ("tools", "thinking")),
    Weights("qwen3:4b", "qwen3", "4.0B", 2500, 36, 32, 8, 128, 2560, 40960, ("tools", "thinking")),
    Weights("qwen2.5vl:7b", "qwen25vl", "8.3B", 5692, 28, 28, 4, 128, 3584, 128000, ("vision",)),
    Weights("deepseek-r1:7b", "qwen2", "7.6B", 4466, 28, 28, 4, 128, 3584, 131072, ("thinking",)),
    Weights("llama3.1:8b", "llama", "8.0B", 4693, 32, 32, 8, 128, 4096, 131072, ("tools",)),
)


def write(out: Path) -> None:
    """Write the registry of all models; the same bytes every time."""
    for model in MODELS:
        _write(model, out)


def _write(model: Weights, out: Path) -> None:
    name, tag = model.name.split(":")
    repository = out / "v2" / "library" / name
    for folder in ("manifests", "blobs"):
        (repository / folder).mkdir(parents=True, exist_ok=True)

    def blob(media_type: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (repository / "blobs" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    weights = json.dumps(model.facts).encode()
    layers = [
        blob("application/vnd.ollama.image.model", weights + b"\n" * (LAYER_BYTES - len(weights))),
        blob("application/vnd.ollama.image.template", b"{{ .System }}\n{{ .Prompt }}\n"),
        blob("application/vnd.ollama.image.license", b"Simulated weights; no licence needed.\n"),
        blob("application/vnd.ollama.image.params", b'{"temperature": 0.6}'),
    ]
    config = {
        "model_format": "gguf",
        "model_family": model.family,
        "model_families": [model.family],
        "model_type": model.parameters,
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": blob(CONFIG_TYPE, json.dumps(config).encode()),
        "layers": layers,
    }
    (repository / "manifests" / tag).write_text(json.dumps(manifest))
