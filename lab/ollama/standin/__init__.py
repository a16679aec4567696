"""The stand-in `ollama`: Ollama's API, store and memory, without a model that thinks.

Standard library only; `lab/ollama/release.py` packs it into the one executable of the release archive.
"""

VERSION = "0.0.0"
"""The release that it stands for: packed, the declared one."""
