"""The lab. It overrides only what a second server would override too."""

import json
from pathlib import Path

_FILE = Path(__file__).resolve().parent.parent / ".lab" / "checksums.json"
_CHECKSUMS = json.loads(_FILE.read_text()) if _FILE.exists() else {}

# The machine that the lab simulates.
hardware_profile = "celeron_g4930"

# The lab's replacements of the real downloads; `make lab` writes the file.
ollama_sha256 = _CHECKSUMS.get("ollama", "")
container_toolkit_key_fingerprint = _CHECKSUMS.get("nvidia_key", "")

# Its containers take far less memory than the real ones.
allow_small_machine = True

# Beside the lab's other files.
report = ".lab/report.json"

# The lab's disk is a share of yours.
swap_gib = 1

# Debian 13's own: the lab has no repository of the Postgres project.
postgres_major = 17
postgres_pgdg = False

# It has none of the owner's data.
empty_databases = ["augmenter"]
