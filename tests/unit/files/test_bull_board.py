"""What the owner and the lab build from files/bull-board/."""

from __future__ import annotations

import json

from lab.images import pipeline
from operations.script import FILES

FOLDER = FILES / "bull-board"


def test_the_lab_builds_the_owner_s_folder_under_his_name() -> None:
    assert pipeline.references()["bull-board"] == ((FOLDER / "reference").read_text().strip(),)
    assert (pipeline.HERE / "bull-board").resolve() == FOLDER


def test_the_lock_names_every_package_and_no_registry() -> None:
    manifest = json.loads((FOLDER / "package.json").read_text())
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert [path for path, package in packages.items() if "integrity" not in package] == []
    assert [path for path, package in packages.items() if "resolved" in package] == []


def test_the_image_s_tag_is_the_program_s_version() -> None:
    version = json.loads((FOLDER / "package.json").read_text())["version"]
    assert (FOLDER / "reference").read_text().strip().endswith(f":{version}")
