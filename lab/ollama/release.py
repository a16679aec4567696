"""The release of the stand-in, laid out as Ollama's: `ollama-linux-amd64.tar.zst` and `sha256sum.txt`."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

from group_data.gpu import ollama_version

STANDIN = Path(__file__).parent / "standin"
ARCHIVE = "ollama-linux-amd64.tar.zst"
EPOCH = (2025, 1, 1, 0, 0, 0)
MTIME = 1735689600  # the same moment, for tar

MAIN = f"""import sys

import standin

standin.VERSION = {ollama_version!r}

from standin.cli import main

sys.exit(main())
"""
# What the real archive has beside the program; an upgrade has to remove what an older one left there.
LIBRARIES = (
    "lib/ollama/libggml-base.so",
    "lib/ollama/libggml-cpu-x64.so",
    "lib/ollama/cuda_v12/libggml-cuda.so",
    "lib/ollama/cuda_v13/libggml-cuda.so",
    "lib/ollama/vulkan/libggml-vulkan.so",
)


def program() -> bytes:
    """The stand-in as one executable file."""
    packed = io.BytesIO(b"#!/usr/bin/python3\n")
    packed.seek(0, io.SEEK_END)
    with zipfile.ZipFile(packed, "a") as archive:
        sources = {f"standin/{file.name}": file.read_text() for file in sorted(STANDIN.glob("*.py"))}
        for name, text in {"__main__.py": MAIN, **sources}.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return packed.getvalue()


def build(out: Path) -> str:
    """Write the archive and its checksums; the same bytes every time.

    :param out: folder that receives both
    :return: sha256 of the archive
    """
    out.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, "bin/ollama", program(), 0o755)
        for library in LIBRARIES:
            _add(archive, library, b"simulated\n", 0o644)
    compressed = subprocess.run(
        ["zstd", "--quiet", "-3", "--stdout"], input=packed.getvalue(), check=True, capture_output=True
    ).stdout
    (out / ARCHIVE).write_bytes(compressed)
    digest = hashlib.sha256(compressed).hexdigest()
    (out / "sha256sum.txt").write_text(f"{digest}  ./{ARCHIVE}\n")
    return digest


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), mode, MTIME
    archive.addfile(entry, io.BytesIO(content))
