"""What a deploy finds in the lab and would find with its owner elsewhere: provided secrets, checksums, images."""

from __future__ import annotations

import json

import yaml

from lab import images, upstream
from lab.authority import write_private
from lab.paths import Lab


def supply(lab: Lab) -> None:
    """Write what the declarations and the secrets of the lab say, and fill its registry; the upstream runs already."""
    (lab.state / "checksums.json").write_text(json.dumps(upstream.checksums(lab), indent=2) + "\n")
    _provide_secrets(lab)
    images.build(lab)


def _provide_secrets(lab: Lab) -> None:
    """Give the lab's secrets file the keys that its simulated providers issued; generated ones stay."""
    path = lab.checkout / "secrets" / "lab.yaml"
    secrets = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
    before = json.dumps(secrets)
    for name, value in upstream.seeds(lab).items():
        *folders, leaf = name.split("/")
        node = secrets
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    if json.dumps(secrets) != before:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(path, yaml.safe_dump(secrets).encode())
