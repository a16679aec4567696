"""Models on disk, laid out as Ollama does, and pulled from a registry as Ollama does.

`manifests/<registry>/<namespace>/<model>/<tag>` and `blobs/sha256-<hex>`: instances that share the folder share models.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REGISTRY, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
MODEL_LAYER = "application/vnd.ollama.image.model"
CHUNK = 128 * 1024
TIMEOUT_S = 30


class NotFoundError(Exception):
    """There is no such model here."""


class PullError(Exception):
    """A model could not be pulled; the text is what the client is told."""


@dataclass(frozen=True)
class Name:
    """A model's name in all its parts."""

    registry: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """`[[registry/]namespace/]model[:tag]`; raises ValueError for anything else."""
        path, _, tag = text.rpartition(":") if ":" in text.rpartition("/")[2] else (text, "", "")
        parts = path.split("/")
        if len(parts) > 3 or not all(parts) or any(part.startswith((".", "-")) for part in [*parts, tag]):
            raise ValueError("invalid model name")
        registry, namespace, model = [REGISTRY, NAMESPACE][: 3 - len(parts)] + parts
        return cls(registry, namespace, model, tag or TAG)

    def __str__(self) -> str:
        """The short form: what is the default is left out, but never the tag."""
        prefix = "" if self.registry == REGISTRY else f"{self.registry}/"
        if prefix or self.namespace != NAMESPACE:
            prefix += f"{self.namespace}/"
        return f"{prefix}{self.model}:{self.tag}"

    @property
    def path(self) -> Path:
        return Path(self.registry) / self.namespace / self.model / self.tag


@dataclass(frozen=True)
class Model:
    """A model that is here. `facts` are the metadata of its weights (GGUF keys), `config` that of its image."""

    name: Name
    digest: str
    modified: datetime
    manifest: dict[str, Any]
    config: dict[str, Any]
    facts: dict[str, Any]
    template: str

    @property
    def weights_bytes(self) -> int:
        return int(self.facts["standin.weights_bytes"])

    @property
    def capabilities(self) -> list[str]:
        return list(self.facts["standin.capabilities"])

    def fact(self, key: str) -> int:
        """An architecture's number, such as `block_count`."""
        return int(self.facts[f"{self.facts['general.architecture']}.{key}"])

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "",
            "format": self.config["model_format"],
            "family": self.config["model_family"],
            "families": self.config["model_families"],
            "parameter_size": self.config["model_type"],
            "quantization_level": self.config["file_type"],
        }


class Store:
    """The folder OLLAMA_MODELS."""

    def __init__(self, folder: Path) -> None:
        self.manifests = folder / "manifests"
        self.blobs = folder / "blobs"
        for needed in (self.manifests, self.blobs):
            needed.mkdir(parents=True, exist_ok=True)

    def models(self) -> list[Model]:
        """All models, the newest first."""
        names = (Name(*path.relative_to(self.manifests).parts) for path in self.manifests.glob("*/*/*/*"))
        return sorted((self._read(name) for name in names), key=lambda model: model.modified, reverse=True)

    def get(self, text: str) -> Model:
        """A model by name; raises NotFoundError."""
        try:
            return self._read(Name.parse(text))
        except (ValueError, OSError):
            raise NotFoundError(f"model '{text}' not found") from None

    def _read(self, name: Name) -> Model:
        file = self.manifests / name.path
        raw = file.read_bytes()
        manifest = json.loads(raw)
        layers = {layer["mediaType"]: self._blob(layer["digest"]) for layer in manifest["layers"]}
        template = layers.get("application/vnd.ollama.image.template")
        return Model(
            name=name,
            digest=hashlib.sha256(raw).hexdigest(),
            modified=datetime.fromtimestamp(file.stat().st_mtime, UTC),
            manifest=manifest,
            config=json.loads(self._blob(manifest["config"]["digest"]).read_text()),
            facts=json.loads(layers[MODEL_LAYER].read_text()),
            template=template.read_text() if template else "",
        )

    def _blob(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def copy(self, source: str, destination: str) -> None:
        """Give a model another name, too; raises NotFoundError and ValueError."""
        target = self.manifests / Name.parse(destination).path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, (self.manifests / self.get(source).name.path).read_bytes())

    def delete(self, text: str) -> None:
        """Remove a model and what no other model needs; raises NotFoundError."""
        gone = self.get(text)
        (self.manifests / gone.name.path).unlink()
        kept = {digest for model in self.models() for digest in _digests(model.manifest)}
        for digest in _digests(gone.manifest) - kept:
            self._blob(digest).unlink(missing_ok=True)

    def pull(self, text: str, insecure: bool) -> Iterator[dict[str, Any]]:
        """Fetch a model, telling each step; raises PullError. `insecure` allows plain HTTP."""
        try:
            name = Name.parse(text)
        except ValueError as error:
            raise PullError(str(error)) from None
        yield {"status": "pulling manifest"}
        base = f"{'http' if insecure else 'https'}://{name.registry}/v2/{name.namespace}/{name.model}"
        try:
            with _open(f"{base}/manifests/{name.tag}") as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            reason = "file does not exist" if error.code == 404 else f"{error.code}: {error.reason}"
            raise PullError(f"pull model manifest: {reason}") from None
        except OSError as error:
            raise PullError(f'pull model manifest: Get "{base}/manifests/{name.tag}": {error}') from None
        manifest = json.loads(raw)
        for layer in [*manifest["layers"], manifest["config"]]:
            yield from self._fetch(base, layer["digest"], layer["size"])
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        target = self.manifests / name.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, raw)
        yield {"status": "success"}

    def _fetch(self, base: str, digest: str, size: int) -> Iterator[dict[str, Any]]:
        progress = {
            "status": f"pulling {digest.removeprefix('sha256:')[:12]}",
            "digest": digest,
            "total": size,
        }
        target = self._blob(digest)
        if target.exists():
            yield {**progress, "completed": size}
            return
        yield progress
        content = b""
        try:
            with _open(f"{base}/blobs/{digest}") as answer:
                while chunk := answer.read(CHUNK):
                    content += chunk
                    yield {**progress, "completed": len(content)}
        except OSError as error:
            raise PullError(f"max retries exceeded: {error}") from None
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if found != digest:
            raise PullError(f"digest mismatch, file must be downloaded again: want {digest}, got {found}")
        _write(target, content)


def _open(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=TIMEOUT_S)  # noqa: S310 - http and https only, see `pull`


def _digests(manifest: dict[str, Any]) -> set[str]:
    return {layer["digest"] for layer in [*manifest["layers"], manifest["config"]]}


def _write(target: Path, content: bytes) -> None:
    """Whole or not at all, also when two instances pull the same model at once."""
    staged = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    staged.write_bytes(content)
    staged.replace(target)
