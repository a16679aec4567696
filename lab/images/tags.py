"""Write the tags that production declares where the lab names its images: `python -m lab.images.tags`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from blueprint import group_data

HERE = Path(__file__).parent


def retagged() -> Mapping[Path, str]:
    """The files that name images of the lab, with the declared tags."""
    blueprint = group_data.read().blueprint("production")
    services = [service for stack in blueprint.stacks for service in stack.services]
    images = {blueprint.whisper.image, *(service.image for service in services)}
    files = [HERE / "README.md", *sorted(HERE.glob("*/reference")), *sorted(HERE.glob("*/Dockerfile"))]
    return {file: _retagged(file.read_text(encoding="utf-8"), images) for file in files}


def _retagged(text: str, images: set[str]) -> str:
    for image in images:
        name = re.escape(image.rpartition(":")[0])
        text = re.sub(rf"(?m)(^(?:FROM )?|`|docker\.io/(?:library/)?){name}:[\w.-]+", rf"\g<1>{image}", text)
    return text


if __name__ == "__main__":
    for file, text in retagged().items():
        file.write_text(text, encoding="utf-8")
