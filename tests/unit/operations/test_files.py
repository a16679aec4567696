from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError

from facts.files import Contents, FileState, Tree, TreeState, read_tree
from operations import files
from operations.script import FILES
from specs.files import Absent, Directory, Entry, File, Link
from tests.unit.bench import Bench
from tests.unit.hosts import commands, pyinfra, scripted_host

ROOT = ("root", "0")


def found(content: bytes = b"a\n", mode: int = 0o644, **changed: object) -> FileState:
    values = {"kind": "file", "mode": mode, "owner": ROOT, "group": ROOT}
    return FileState(**{**values, "sha256": hashlib.sha256(content).hexdigest(), **changed})  # type: ignore[arg-type]


# --- the fact


def test_reads_what_find_and_sha256sum_print() -> None:
    digest = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
    other = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = read_tree(
        [
            "path\tf\t640\troot\t0\tadm\t4\t/etc/with a space\t",
            "path\td\t1777\troot\t0\troot\t0\t/srv/a b\t",
            "path\tl\t777\troot\t0\troot\t0\t/bin\tusr/bin",
            "path\tf\t600\troot\t0\troot\t0\t/etc/dev-disk\\x2dby.mount\t",
            "path\tc\t666\troot\t0\troot\t0\t/dev/null\t",
            f"{digest}  /etc/with a space",
            f"\\{other}  /etc/dev-disk\\\\x2dby.mount",
            f"{other}  /etc/came-into-being-in-between",
            "abandoned\t/etc/.pyinfra-tree.Ab12Cd34",
        ]
    )
    assert tree.entries["/etc/with a space"] == FileState("file", 0o640, ROOT, ("adm", "4"), sha256=digest)
    assert tree.entries["/srv/a b"].kind == "directory" and tree.entries["/srv/a b"].mode == 0o1777
    assert tree.entries["/bin"].target == "usr/bin"
    assert tree.entries["/etc/dev-disk\\x2dby.mount"].sha256 == other
    assert tree.entries["/dev/null"].kind == "special file"
    assert tree.abandoned == ("/etc/.pyinfra-tree.Ab12Cd34",)
    assert len(tree.entries) == 5


def test_refuses_an_answer_that_is_none() -> None:
    with pytest.raises(FactProcessError):
        read_tree(["sh: 1: find: not found"])


def test_asks_the_host_and_reads_its_answer(tmp_path: Path) -> None:
    (tmp_path / "it's a file").write_text("a\n")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "back\\slash").write_text("a\n")
    (tmp_path / ".pyinfra-tree.12345678").mkdir()
    paths = [str(tmp_path / name) for name in ("it's a file", "link", "missing", "back\\slash", "no/folder")]
    command = Tree().command([*paths, str(tmp_path)]).get_raw_value()
    answer = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    tree = read_tree(answer.splitlines())
    assert tree.entries.keys() == {paths[0], paths[1], paths[3], str(tmp_path)}
    expected = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
    assert tree.entries[paths[0]].sha256 == tree.entries[paths[3]].sha256 == expected
    assert tree.entries[paths[1]].target == "nowhere"
    assert tree.abandoned == (str(tmp_path / ".pyinfra-tree.12345678"),)


def test_contents_come_back_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"\x00\xff\n\n")
    paths = [str(tmp_path / "a b"), str(tmp_path / "missing")]
    command = Contents().command(paths).get_raw_value()
    answer = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    assert Contents().process(answer.splitlines()) == {paths[0]: b"\x00\xff\n\n"}


# --- the declaration


@pytest.mark.parametrize(
    "declare",
    [
        lambda: File("etc/relative", ""),
        lambda: File("/etc/../passwd", ""),
        lambda: File("/etc//double", ""),
        lambda: Directory("/etc/final/"),
        lambda: Absent("/"),
        lambda: File("/etc/line\nbreak", ""),
        lambda: File("/etc/a", "", mode="u+x"),
        lambda: File("/etc/a", "", mode="0844"),
        lambda: File("/etc/a", "", owner="-R"),
        lambda: File("/etc/a", "", validate="true"),
        lambda: Link("/etc/a", ""),
    ],
)
def test_a_declaration_refuses_nonsense(declare: object) -> None:
    with pytest.raises(ValueError):
        declare()  # type: ignore[operator]


def test_a_content_never_shows_in_a_representation() -> None:
    assert "canary" not in repr(File("/etc/a", "canary"))


# --- the difference

AS_DECLARED: list[tuple[Entry, FileState | None]] = [
    (File("/f", "a\n"), found()),
    (File("/f", b"a\n", owner="0", group="root"), found()),
    (Directory("/d"), found(kind="directory", mode=0o755)),
    (Link("/l", "target"), found(kind="link", mode=0o777, target="target")),
    (Absent("/gone"), None),
]

DIFFERENT: list[tuple[Entry, FileState | None, str, str]] = [
    (File("/f", "a\n"), None, "file", "is missing"),
    (File("/f", "b\n"), found(), "file", "has another content"),
    (File("/f", "a\n"), found(sha256=None), "file", "has another content"),
    (File("/f", "a\n"), found(kind="link", target="/x"), "file", "is a link to /x"),
    (File("/f", "a\n", mode="0600"), found(), "attributes", "mode 0644 instead of 0600"),
    (File("/f", "a\n"), found(owner=("bin", "2")), "attributes", "owner bin instead of root"),
    (File("/f", "a\n"), found(group=("bin", "2")), "attributes", "group bin instead of root"),
    (Directory("/d"), None, "directory", "is missing"),
    (
        Directory("/d", mode="0700"),
        found(kind="directory", mode=0o755),
        "directory",
        "mode 0755 instead of 0700",
    ),
    (Link("/l", "new"), found(kind="link", target="old"), "link", "is a link to old"),
    (Link("/l", "new"), found(), "link", "is a file"),
    (Absent("/f"), found(), "absent", "is a file"),
]


@pytest.mark.parametrize(("entry", "actual"), AS_DECLARED)
def test_nothing_to_do(entry: Entry, actual: FileState | None) -> None:
    state = TreeState({entry.path: actual} if actual else {})
    assert files.difference([entry], state) == []
    assert commands(files.tree, {Tree: state}, entries=[entry]) == []


@pytest.mark.parametrize(("entry", "actual", "action", "reason"), DIFFERENT)
def test_a_difference_is_one_command(
    entry: Entry, actual: FileState | None, action: str, reason: str
) -> None:
    state = TreeState({entry.path: actual} if actual else {})
    assert files.difference([entry], state) == [files.TreeChange(action, entry.path, entry, reason)]
    (command,) = commands(files.tree, {Tree: state}, entries=[entry])
    assert command.script == "host/apply-tree.sh"
    assert command.payload.startswith(f"{action}\0{entry.path}\0")


@pytest.mark.parametrize(
    ("entry", "actual", "words"),
    [
        (File("/f", ""), found(kind="directory"), "found a directory, expected a file"),
        (File("/f", ""), found(kind="special file"), "found a special file"),
        (Directory("/d"), found(), "found a file, expected a directory"),
        (Directory("/d"), found(kind="link", target="/x"), "found a link to /x, expected a directory"),
        (Link("/l", "x"), found(kind="directory"), "found a directory, expected a link"),
    ],
)
def test_another_kind_in_the_way_is_an_error(entry: Entry, actual: FileState, words: str) -> None:
    with pytest.raises(OperationError, match=words):
        files.difference([entry], TreeState({entry.path: actual}))


def test_what_a_killed_run_left_is_removed() -> None:
    changes = files.difference([], TreeState({}, ("/etc/.pyinfra-tree.x",)))
    assert [(change.action, change.path) for change in changes] == [("abandoned", "/etc/.pyinfra-tree.x")]


def test_one_path_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"more than once: /f"):
        commands(files.tree, {Tree: TreeState()}, entries=[File("/f", ""), Absent("/f")])


def test_says_in_words_that_all_is_as_declared() -> None:
    entries: list[Entry] = [File("/a", ""), File("/b", ""), Directory("/c"), Absent("/d")]
    assert files.summary(entries) == "2 files, 1 directory, 1 absence"


def test_the_command_shows_nothing_of_the_content() -> None:
    (command,) = commands(files.tree, {Tree: TreeState()}, entries=[File("/f", "canary", secret=True)])
    assert "canary" not in command.get_raw_value()
    assert "canary" not in command.payload  # base64: not even a glance over a shoulder


def test_diff_leaves_out_what_is_or_was_private(caplog: pytest.LogCaptureFixture) -> None:
    entries = [File("/open", "new\n"), File("/secret", "canary\n", secret=True), File("/was", "canary\n")]
    tree = TreeState({"/open": found(), "/secret": found(), "/was": found(mode=0o600)})
    with (
        caplog.at_level("INFO", "pyinfra"),
        scripted_host({Tree: tree, Contents: {"/open": b"old\n"}}, diff=True) as h,
    ):
        list(files.tree._inner(entries=entries))
    assert h.asked[1] == {"paths": ["/open"]}
    assert "- old" in caplog.text and "+ new" in caplog.text
    assert "canary" not in caplog.text


# --- on this machine, through pyinfra itself

DEPLOY = """
from operations import files
from operations.files import *
files.tree(name="Files", entries=[{entries}])
"""


def deploy_of(tmp_path: Path, *entries: str) -> Path:
    path = tmp_path / "deploy.py"
    path.write_text(DEPLOY.format(entries=", ".join(entries)))
    return path


def mine() -> str:
    return f'owner="{os.getuid()}", group="{os.getgid()}"'


def test_applied_twice_changes_once(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    (tmp_path / "old").write_text("old")
    deploy = deploy_of(
        tmp_path,
        f'Directory("{folder}", mode="0750", {mine()})',
        f'Directory("{folder}/in side", {mine()})',
        f'File("{folder}/in side/ö.conf", "a=ü\\n\\n", mode="0640", {mine()}, validate="grep -q ü {{path}}")',
        f'File("{folder}/empty", "", {mine()})',
        f'File("{folder}/big", b"\\0\\xff" * 2_000_000, {mine()})',
        f'Link("{folder}/link", "in side/ö.conf")',
        f'Absent("{tmp_path}/old")',
    )
    first = pyinfra(deploy)
    assert first.returncode == 0, first.stdout
    assert "Success" in first.stdout
    assert (folder / "link").read_bytes() == "a=ü\n\n".encode()
    assert (folder / "in side/ö.conf").stat().st_mode & 0o7777 == 0o640
    assert folder.stat().st_mode & 0o7777 == 0o750
    assert (folder / "big").read_bytes() == b"\0\xff" * 2_000_000
    assert (folder / "empty").read_bytes() == b""
    assert not (tmp_path / "old").exists()
    assert not list(tmp_path.rglob(".pyinfra-tree.*"))
    times = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    second = pyinfra(deploy, "-v")
    assert (
        "No changes" in second.stdout
        and "noop: 3 files, 2 directories, 1 link, 1 absence up to date" in second.stdout
    )
    assert times == {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    (folder / "big").chmod(0o600)
    third = pyinfra(deploy)
    assert "big: 0644" in third.stdout and "written" not in third.stdout
    assert (folder / "big").stat().st_mode & 0o777 == 0o644


def test_a_refused_file_leaves_everything_as_it_was(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old\n")
    refusing = 'validate="echo line 1 of $(basename {path}) is wrong; false"'
    deploy = deploy_of(
        tmp_path,
        f'File("{tmp_path}/a", "new\\n", {mine()})',
        f'File("{tmp_path}/b", "new\\n", {mine()}, {refusing})',
    )
    run = pyinfra(deploy)
    assert run.returncode != 0
    assert "line 1 of b is wrong" in run.stdout
    assert f"{tmp_path}/b: refused by its validation" in run.stdout
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "old\n"
    assert not list(tmp_path.glob(".pyinfra-tree.*"))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    # larger than a pipe: the script has to read on although it has given up
    run = pyinfra(deploy_of(tmp_path, f'File("{tmp_path}/no/where", "x" * 3_000_000, {mine()})'))
    assert run.returncode != 0
    assert f"found no directory {tmp_path}/no; declare it" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_directory_with_content_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("")
    run = pyinfra(deploy_of(tmp_path, f'Absent("{tmp_path}/full")'))
    assert run.returncode != 0 and "found a directory with something in it" in run.stdout
    assert (tmp_path / "full/precious").exists()


@pytest.mark.parametrize("flags", [("-vvv", "--debug", "--diff"), ("--dry", "-vvv", "--diff"), ()])
def test_a_secret_shows_nowhere(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "private").write_text("oldcanary\n")
    (tmp_path / "plain").write_text("before\n")
    refusing = 'validate="cat {path}; false"'
    deploy = deploy_of(
        tmp_path,
        f'File("{tmp_path}/private", "newcanary\\n", mode="0600", {mine()}, secret=True)',
        f'File("{tmp_path}/refused", "newcanary\\n", {mine()}, secret=True, {refusing})',
        f'File("{tmp_path}/plain", "after\\n", {mine()})',
    )
    run = pyinfra(deploy, *flags)
    assert "canary" not in run.stdout
    assert "bmV3Y2FuYXJ5" not in run.stdout and "b2xkY2FuYXJ5" not in run.stdout  # base64 of both
    if "--dry" not in flags:
        assert "refused: refused by its validation" in run.stdout
    if "--diff" in flags:
        assert "- before" in run.stdout and "+ after" in run.stdout


def test_killed_before_the_rename_the_next_run_repairs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    entry = File(
        f"{tmp_path}/a", "new\n", owner=str(os.getuid()), group=str(os.getgid()), validate="sleep 60 # {path}"
    )
    changes = files.difference([entry], TreeState({entry.path: found()}))
    script = subprocess.Popen(
        ["bash", str(FILES / "host/apply-tree.sh")], stdin=subprocess.PIPE, text=True, start_new_session=True
    )
    assert script.stdin
    script.stdin.write(files.payload(changes))
    script.stdin.flush()
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob(".pyinfra-tree.*/a")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(script.pid, signal.SIGKILL)
    script.stdin.close()
    script.wait()
    assert (tmp_path / "a").read_text() == "old\n"
    assert list(tmp_path.glob(".pyinfra-tree.*/a"))
    run = pyinfra(deploy_of(tmp_path, f'File("{tmp_path}/a", "new\\n", {mine()})'))
    assert run.returncode == 0, run.stdout
    assert (tmp_path / "a").read_text() == "new\n"
    assert not list(tmp_path.glob(".pyinfra-tree.*"))


def test_another_run_that_is_alive_is_not_taken_for_abandoned(tmp_path: Path) -> None:
    owner, group = str(os.getuid()), str(os.getgid())
    slow = File(f"{tmp_path}/a", "new\n", owner=owner, group=group, validate="sleep 1 # {path}")
    payload = files.payload(files.difference([slow], TreeState()))
    command = ["bash", str(FILES / "host/apply-tree.sh")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as first:
        assert first.stdin
        first.stdin.write(payload)
        first.stdin.close()
        deadline = time.monotonic() + 10
        while (
            not (staging := [str(path) for path in tmp_path.glob(".pyinfra-tree.*")])
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)
        changes = files.difference([], TreeState({}, tuple(staging)))
        subprocess.run(command, input=files.payload(changes), text=True, check=True)
        assert first.wait() == 0
    assert (tmp_path / "a").read_text() == "new\n"


def test_another_run_that_does_not_end_is_not_waited_for_without_end(bench: Bench) -> None:
    bench.program("flock", 'log "$*"; exit 1')
    done = bench.run("host/apply-tree.sh")
    assert done.returncode == 1
    assert bench.calls == ["--wait 300 9"]
    assert "found another run at work on this host's files" in done.stderr


def test_a_lost_connection_changes_nothing(tmp_path: Path) -> None:
    entries = [
        File(f"{tmp_path}/{name}", "new\n" * 99, owner=str(os.getuid()), group=str(os.getgid()))
        for name in "ab"
    ]
    payload = files.payload(files.difference(entries, TreeState()))
    for cut in (10, payload.index("end\0"), len(payload) - 30, len(payload) - 4):
        script = subprocess.run(
            ["bash", str(FILES / "host/apply-tree.sh")], input=payload[:cut], text=True, capture_output=True
        )
        assert script.returncode != 0
        assert "changed" in script.stderr, textwrap.indent(script.stderr, "  ")
        assert not list(tmp_path.iterdir())
