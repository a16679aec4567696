"""The image pipeline: what is built, and what its builds know of this machine."""

from __future__ import annotations

import json
import os
import threading
import time
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lab.images import links, pipeline, storage
from lab.paths import Lab
from lab.upstream import indexes, server

REFERENCE = "ghcr.io/acme/tool:v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pipeline, "HERE", tmp_path)
    image = tmp_path / "tool"
    image.mkdir()
    (image / "Dockerfile").write_text("FROM debian:trixie-slim\n")
    (image / "reference").write_text(f"{REFERENCE}\n")
    return image


def test_an_image_is_named_as_in_production(folder: Path) -> None:
    assert pipeline.references() == {"tool": (REFERENCE,)}


def test_one_build_may_have_several_names(folder: Path) -> None:
    (folder / "reference").write_text(f"{REFERENCE}\nghcr.io/acme/gauge:v2\n\n")
    assert pipeline.references() == {"tool": (REFERENCE, "ghcr.io/acme/gauge:v2")}


def test_a_name_belongs_to_one_folder(folder: Path) -> None:
    add(folder.parent, "other", "FROM debian:trixie-slim\n")
    (folder.parent / "other" / "reference").write_text(f"ghcr.io/acme/other:v1\n{REFERENCE}\n")
    with pytest.raises(ValueError, match=r"is built from .*other/reference already"):
        pipeline.references()


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "acme/tool:v1",
        "ghcr.io/acme/tool",
        "tool:v1",
        f"{REFERENCE} ghcr.io/acme/b:v1",
        f"{REFERENCE}\nb:v1",
    ],
)
def test_a_reference_has_registry_and_tag(folder: Path, reference: str) -> None:
    (folder / "reference").write_text(reference)
    with pytest.raises(ValueError, match="REGISTRY/NAME:TAG"):
        pipeline.references()


def test_an_image_is_pushed_again_when_its_tag_leads_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "registry_storage", lambda lab: tmp_path / "registry")
    lab = Lab(tmp_path, 7)
    tags = tmp_path / "registry/docker/registry/v2/repositories/ghcr.io/acme/tool/_manifests/tags"

    def point(tag: str, digest: str) -> None:
        link = tags / tag / "current/link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)

    content = "c" * 64
    assert not pipeline._pushed(lab, [REFERENCE], content)
    point("v1", "sha256:1")
    assert not pipeline._pushed(lab, [REFERENCE], content)
    point(f"lab-{content[:32]}", "sha256:1")
    assert pipeline._pushed(lab, [REFERENCE], content)
    assert not pipeline._pushed(lab, [REFERENCE, "ghcr.io/acme/gauge:v1"], content)
    point("v1", "sha256:2")
    assert not pipeline._pushed(lab, [REFERENCE], content)


def test_any_change_of_a_folder_changes_its_content(folder: Path) -> None:
    def content() -> str:
        return pipeline._digest(*pipeline._contents(folder))

    first = content()
    (folder / "extra").write_text("x")
    second = content()
    (folder / "extra").rename(folder / "other")
    assert len({first, second, content()}) == 3
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("x")
    assert len({first, second, content()}) == 3


def test_pip_s_configuration_is_merged_and_trusts_the_image_s_authorities() -> None:
    settings = (
        ":env:.cert='/this/machine.pem'\n:env:.index-url='https://from.environment/simple'\n"
        "global.client-cert='/this/machine.pem'\nglobal.index-url='https://from.file/simple'\n"
        "global.extra-index-url='file:///one/simple file:///two/simple'\ninstall.prefer-binary='true'\n"
    )
    merged = indexes.pip_configuration(settings)
    assert "/this/machine.pem" not in merged
    assert "cert = /etc/ssl/certs/ca-certificates.crt\n" in merged
    assert "index-url = https://from.environment/simple\n" in merged
    assert "extra-index-url = file:///one/simple file:///two/simple\n" in merged
    assert "[install]\nprefer-binary = true\n" in merged


def test_a_build_sees_local_indexes_with_the_files_beside_them(tmp_path: Path) -> None:
    for name in ("index/simple", "index/files", "wheels"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("authorities.pem", "constraints.txt"):
        (tmp_path / name).touch()
    settings = (
        f"global.extra-index-url='file://{tmp_path}/index/simple file:///not/there/simple'\n"
        f"global.find-links='{tmp_path}/wheels'\nglobal.timeout='180'\n"
        f"global.constraint='{tmp_path}/constraints.txt'\n:env:.cert='{tmp_path}/authorities.pem'\n"
    )
    seen = [tmp_path / name for name in ("constraints.txt", "index", "wheels")]
    assert indexes.local_paths(settings) == seen


# --- images on images, and what is thrown away


def add(images: Path, name: str, dockerfile: str) -> None:
    (images / name).mkdir()
    (images / name / "Dockerfile").write_text(dockerfile)
    (images / name / "reference").write_text(f"ghcr.io/acme/{name}:v1\n")


def test_an_image_comes_after_those_it_is_built_on(folder: Path) -> None:
    add(folder.parent, "a", f"FROM {REFERENCE} AS tool\nFROM ghcr.io/acme/b:v1\nCOPY --from=tool /x /x\n")
    add(folder.parent, "b", f"FROM {REFERENCE}\n# FROM ghcr.io/acme/a:v1\n")
    below = pipeline.foundations(pipeline.references())
    assert below == {"tool": set(), "b": {"tool"}, "a": {"tool", "b"}}
    assert list(below) == ["tool", "b", "a"]


def test_an_image_may_stand_on_another_name_of_a_build(folder: Path) -> None:
    (folder / "reference").write_text(f"{REFERENCE}\nghcr.io/acme/gauge:v2\n")
    add(folder.parent, "a", "FROM ghcr.io/acme/gauge:v2\n")
    assert pipeline.foundations(pipeline.references()) == {"tool": set(), "a": {"tool"}}


def test_every_name_of_a_build_is_pushed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(server, "registry_storage", lambda lab: tmp_path / "registry")
    monkeypatch.setattr(server, "run", lambda lab, command, **_: commands.append(command))
    pipeline._push(Lab(tmp_path, 7), [REFERENCE, "ghcr.io/acme/gauge:v2"], "c" * 64)
    own = f"lab-{'c' * 32}"
    assert [command[-1].removeprefix("docker://") for command in commands] == [
        REFERENCE,
        f"ghcr.io/acme/tool:{own}",
        "ghcr.io/acme/gauge:v2",
        f"ghcr.io/acme/gauge:{own}",
    ]
    assert {command[-2] for command in commands} == {f"{storage.NAME}:{own}"}


def test_a_push_of_another_lab_is_linked_while_its_blobs_are_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registries, content = tmp_path / "registries", "c" * 64
    manifest = {
        "config": {"digest": "sha256:cf"},
        "layers": [{"digest": "sha256:1a"}, {"digest": "sha256:2b"}],
    }
    for value in ("ma", "cf", "1a", "2b"):
        blob = registries / f"blobs/sha256/{value[:2]}/{value}/data"
        blob.parent.mkdir(parents=True)
        blob.write_text(json.dumps(manifest))
    links.link(registries, registries / "sf3", "ghcr.io/acme/tool", [f"lab-{content[:32]}"], "sha256:ma")
    commands: list[list[str]] = []
    monkeypatch.setattr(server, "registry_storage", lambda lab: registries / lab.name)
    monkeypatch.setattr(server, "run", lambda lab, command, **_: commands.append(command))
    names = ["ghcr.io/acme/gauge:v2", REFERENCE]
    pipeline._push(Lab(tmp_path, 7), names, content)
    assert not commands
    assert pipeline._pushed(Lab(tmp_path, 7), names, content)
    layers = registries / "sf7/docker/registry/v2/repositories/ghcr.io/acme/gauge/_layers/sha256"
    assert {link.read_text() for link in layers.glob("*/link")} == {"sha256:cf", "sha256:1a", "sha256:2b"}

    (registries / "blobs/sha256/2b/2b/data").unlink()
    pipeline._push(Lab(tmp_path, 8), names, content)
    assert len(commands) == 4, "what cannot be linked is pushed"


def test_images_that_stand_on_each_other_are_refused(folder: Path) -> None:
    add(folder.parent, "a", "FROM ghcr.io/acme/b:v1\n")
    add(folder.parent, "b", "FROM ghcr.io/acme/a:v1\n")
    with pytest.raises(ValueError, match="on each other: "):
        pipeline.foundations(pipeline.references())


@pytest.mark.parametrize("fails", [False, True])
def test_images_are_made_side_by_side_and_in_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    started: list[str] = []
    together = threading.Barrier(2)

    def make(_: Lab, name: str, names: tuple[str, ...], content: str) -> None:
        assert (names, content) == ((f"ghcr.io/acme/{name}:v1",), name.upper())
        started.append(name)
        if name in ("a", "b"):
            together.wait(5)  # for ever, if they were made one after the other
        if fails and name == "a":
            raise SystemExit("make-image failed")

    monkeypatch.setattr(pipeline, "_make", make)
    order = TopologicalSorter({"a": set(), "b": set(), "c": {"a", "b"}})
    known = {name: (f"ghcr.io/acme/{name}:v1",) for name in "abc"}
    contents = {name: name.upper() for name in "abc"}
    if fails:
        with pytest.raises(SystemExit, match="make-image failed"):
            pipeline._each_in_order(Lab(tmp_path, 7), order, known, contents)
        assert "c" not in started
    else:
        pipeline._each_in_order(Lab(tmp_path, 7), order, known, contents)
        assert set(started[:2]) == {"a", "b"} and started[2] == "c"


def test_the_longest_are_images() -> None:
    assert set(pipeline.LONGEST) <= pipeline.references().keys()


def test_old_images_that_nobody_wants_go() -> None:
    now, old, young = 1e9, 1e9 - storage.KEPT_S - 1, 1e9 - 60
    images: list[dict[str, object]] = [
        {"names": [f"{storage.NAME}:wanted", "ghcr.io/acme/tool:v1"], "created": int(old)},
        {"names": [f"{storage.NAME}:old", "ghcr.io/acme/tool:v0"], "created": int(old)},
        {"names": [f"{storage.NAME}:young"], "created": int(young)},
        {"names": None, "created": int(old)},
    ]
    assert storage.outdated(images, {f"{storage.NAME}:wanted"}, now) == [f"{storage.NAME}:old"]


def test_blobs_that_no_tag_leads_to_go(tmp_path: Path) -> None:
    def blob(name: str, content: object, age: float = storage.KEPT_S + 60) -> None:
        data = tmp_path / "blobs/sha256" / name[:2] / name / "data"
        data.parent.mkdir(parents=True)
        data.write_text(json.dumps(content))
        os.utime(data.parent, (time.time() - age,) * 2)

    def tag(lab: str, manifest: str) -> None:
        link = (
            tmp_path
            / lab
            / "docker/registry/v2/repositories/ghcr.io/acme/tool/_manifests/tags/v1/current/link"
        )
        link.parent.mkdir(parents=True)
        link.write_text(f"sha256:{manifest}")

    manifest = {
        "config": {"digest": "sha256:c1"},
        "layers": [{"digest": "sha256:l1"}, {"digest": "sha256:l2"}],
    }
    for name in ("c1", "l1", "l2", "unused", "of-lab-9"):
        blob(name, {})
    blob("m1", manifest)
    blob("m9", {"config": {"digest": "sha256:of-lab-9"}, "layers": []})
    blob("just-pushed", {}, age=0)
    tag("sf7", "m1")
    tag("sf9", "m9")
    storage.sweep(tmp_path, {"7", "8"})
    assert {each.name for each in tmp_path.glob("blobs/sha256/*/*")} == {
        "c1",
        "l1",
        "l2",
        "m1",
        "just-pushed",
    }
    assert {each.name for each in tmp_path.iterdir()} == {"blobs", "sf7"}
