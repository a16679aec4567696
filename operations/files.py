"""Files, directories and links of a host, declared and applied together."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state
from pyinfra.operations.util.files import generate_color_diff

from facts.cache import cached_fact
from facts.files import Contents, FileState, Tree, TreeState
from operations import script
from operations.environment_files import changed_variables
from specs.files import Absent, Directory, Entry, File, Link


@dataclass(frozen=True)
class TreeChange:
    """One step of files/host/apply-tree.sh: its action, and the reason."""

    action: str
    path: str
    entry: Entry | None = None
    reason: str = ""


def difference(entries: Iterable[Entry], tree: TreeState) -> list[TreeChange]:
    """The steps from `tree` to the declared state; none where it is as declared.

    :raises OperationError: where something of another kind is in the way that cannot be replaced without
    losing it.
    """
    changes = [TreeChange("abandoned", path, reason="left by an interrupted run") for path in tree.abandoned]
    for entry in entries:
        actual = tree.entries.get(entry.path)
        action, reason = _step(entry, actual)
        if action:
            changes.append(TreeChange(action, entry.path, entry, reason))
    return changes


def _step(entry: Entry, actual: FileState | None) -> tuple[str, str]:
    """Action and reason for one entry, both empty when there is nothing to do."""
    if isinstance(entry, Absent):
        return ("absent", f"is a {actual.kind}") if actual else ("", "")
    if actual is None:
        return _ACTIONS[type(entry)], "is missing"
    if isinstance(entry, Directory):
        if actual.kind != "directory":
            raise _in_the_way(entry, actual, "directory")
        wrong = _wrong_access(entry, actual)
        return ("directory", wrong) if wrong else ("", "")
    if isinstance(entry, Link):
        if actual.kind not in ("link", "file"):
            raise _in_the_way(entry, actual, "link")
        if actual.kind == "link" and actual.target == entry.target:
            return "", ""
        return "link", f"is a {actual.kind}" + (f" to {actual.target}" if actual.target else "")
    if actual.kind not in ("file", "link"):
        raise _in_the_way(entry, actual, "file")
    if actual.kind == "link":
        return "file", f"is a link to {actual.target}"
    if actual.sha256 != entry.sha256:
        return "file", "has another content"
    wrong = _wrong_access(entry, actual)
    return ("attributes", wrong) if wrong else ("", "")


_ACTIONS: dict[type, str] = {File: "file", Directory: "directory", Link: "link"}


def _in_the_way(entry: Entry, actual: FileState, expected: str) -> OperationError:
    what = f"{actual.kind} to {actual.target}" if actual.target else actual.kind
    return OperationError(
        f"{entry.path}: found a {what}, expected a {expected}; nothing is removed unasked: "
        "look at it, move it away and run again"
    )


def _wrong_access(entry: File | Directory, actual: FileState) -> str:
    wrong = []
    if actual.mode != int(entry.mode, 8):
        wrong.append(f"mode {actual.mode:04o} instead of {entry.mode}")
    if entry.owner not in actual.owner:
        wrong.append(f"owner {actual.owner[0]} instead of {entry.owner}")
    if entry.group not in actual.group:
        wrong.append(f"group {actual.group[0]} instead of {entry.group}")
    return ", ".join(wrong)


def payload(changes: Sequence[TreeChange]) -> str:
    """The changes in the form that files/host/apply-tree.sh reads."""
    records: list[tuple[str, ...]] = []
    contents: list[str] = []
    for change in changes:
        match change.entry:
            case File() as entry:
                validate = (entry.validate or "").replace("{path}", '"$1"') if change.action == "file" else ""
                access = (entry.mode, entry.owner, entry.group, str(int(entry.secret)))
                records.append((change.action, entry.path, *access, validate, entry.sha256))
                if change.action == "file":
                    encoded = base64.b64encode(entry.data).decode()
                    contents.append(f"{len(encoded)}\n{encoded}")
            case Directory() as entry:
                records.append((change.action, entry.path, entry.mode, entry.owner, entry.group, "0", "", ""))
            case Link() as entry:
                records.append((change.action, entry.path, "", "", "", "0", entry.target, ""))
            case Absent() | None:
                records.append((change.action, change.path, "", "", "", "0", "", ""))
    records.append(("end", *[""] * 7))
    return "".join(value + "\0" for record in records for value in record) + "".join(contents)


@operation()
def tree(entries: Sequence[Entry]) -> Generator[StringCommand, None, None]:
    """Apply declared files, directories and links: one question, and one command for all
    differences.

    A new content is written beside its destination as 0600, gets its mode and owner, passes its validation
    and is renamed into place; not one file is replaced before all have passed. What is there and of another
    kind is not removed: that is an error, and so is a directory that neither exists nor is declared.

    With `--diff`, changed text files that are neither secret nor private on the host are shown as a diff. The log of
    any run names the variables of an environment file (.env) that change.

    + entries: the desired ones, directories in the order in which they are created
    """
    if not entries:
        host.noop("nothing declared")
        return
    actual: TreeState = cached_fact(Tree, paths=[entry.path for entry in entries])
    if command := apply(entries, actual):
        yield command
    else:
        host.noop(f"{summary(entries)} up to date")


def apply(entries: Sequence[Entry], actual: TreeState) -> StringCommand | None:
    """The command of `tree`, for an operation that has read the tree by a fact of its own.

    :param entries: the desired ones, directories in the order in which they are created
    :param actual: what is there, by the paths of all entries at least; more does not matter

    Returns None where nothing differs.
    """
    twice = [path for path, count in Counter(entry.path for entry in entries).items() if count > 1]
    if twice:
        raise OperationValueError(f"declared more than once: {', '.join(twice)}")
    changes = difference(entries, actual)
    if not changes:
        return None
    if state.is_executing or state.config.DIFF:
        replaced = [
            change.entry for change in changes if change.action == "file" and change.path in actual.entries
        ]
        for line in changed_variables(entry for entry in replaced if isinstance(entry, File)):
            host.log(line)
    if state.config.DIFF:
        _show(changes, actual)
    return script.run("host/apply-tree.sh", payload=payload(changes), stream=True)


def summary(entries: Iterable[Entry]) -> str:
    """Count of what is declared, in words: "3 files, 1 directory"."""
    words = {File: ("file", "files"), Directory: ("directory", "directories"), Link: ("link", "links")}
    words[Absent] = ("absence", "absences")
    counts = Counter(type(entry) for entry in entries)
    return ", ".join(
        f"{counts[kind]} {names[counts[kind] != 1]}" for kind, names in words.items() if counts[kind]
    )


def _show(changes: Sequence[TreeChange], tree: TreeState) -> None:
    """Log what `--diff` promises."""
    shown = [change.entry for change in changes if change.action == "file" and _may_be_shown(change, tree)]
    existing = [entry.path for entry in shown if entry and entry.path in tree.entries]
    old: dict[str, bytes] = host.get_fact(Contents, paths=existing) if existing else {}
    for change in changes:
        host.log(f"{change.path}: {change.reason}")
        if change.entry in shown and isinstance(change.entry, File):
            try:
                before = old.get(change.path, b"").decode().splitlines()
                after = change.entry.data.decode().splitlines()
            except UnicodeDecodeError:
                continue
            for line in generate_color_diff(before, after):
                logger.info("  %s", line)


def _may_be_shown(change: TreeChange, tree: TreeState) -> bool:
    """A file that was private on the host may hold what a declaration no longer calls a secret."""
    if not isinstance(change.entry, File) or change.entry.secret or not int(change.entry.mode, 8) & 0o004:
        return False
    actual = tree.entries.get(change.path)
    return actual is None or (actual.kind == "file" and bool(actual.mode & 0o004))
