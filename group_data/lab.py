"""The lab: what a second server would override too, and no more."""

import json
from dataclasses import replace
from pathlib import Path

from group_data.augmenter import augmenter as _augmenter

_FILE = Path(__file__).resolve().parent.parent / ".lab" / "checksums.json"
_CHECKSUMS = json.loads(_FILE.read_text()) if _FILE.exists() else {}

# The machine that the lab presents itself as.
hardware_profile = "celeron_g4930"

# What the lab's upstream serves in place of the real downloads; `make lab` writes the file.
ollama_sha256 = _CHECKSUMS.get("ollama", "")
container_toolkit_key_fingerprint = _CHECKSUMS.get("nvidia_key", "")

# It shows what the machine can hold; its containers take far less than the real ones.
allow_small_machine = True

# Beside the lab's other files.
report = ".lab/report.json"

# The lab's disk is a share of yours.
swap_gib = 1

# Debian 13's own, as the Postgres project's repository is not to be had there.
postgres_major = 17
postgres_pgdg = False

# Without the owner's data, a dump is small.
augmenter = replace(
    _augmenter, databases=tuple(replace(database, min_dump_kib=0) for database in _augmenter.databases)
)
