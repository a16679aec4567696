"""What an object storage has that keeps everything in folders, as MinIO does on one drive."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

# Where MinIO keeps who else may log in, each in a folder of his name, whose contents are encrypted:
# https://github.com/minio/minio/blob/master/cmd/iam-store.go
_IDENTITIES = ".minio.sys/config/iam"
KINDS = {"users": "user", "service-accounts": "access key", "groups": "group", "policies": "policy"}


@dataclass(frozen=True)
class StorageState:
    """Answer of `Storage`.

    :param buckets: their names
    :param identities: beside its root, by kind (`KINDS`) and name
    """

    buckets: frozenset[str] = frozenset()
    identities: frozenset[tuple[str, str]] = field(default_factory=frozenset)


class Storage(FactBase[StorageState]):
    """Buckets, and who else may log in; nothing where no container is. Needs no key: it looks at the folders.

    :param container: its name
    :param directory: where the server keeps its data, in the container
    """

    def command(self, container: str, directory: str) -> StringCommand:
        """A line for each folder, "./bucket" or "users/name"; what MinIO keeps for itself begins with a dot."""
        looks = (
            'cd "$1" && ls -1 | sed "s:^:./:"; cd '
            + _IDENTITIES
            + " 2>/dev/null && ls -1d "
            + " ".join(f"{kind}/*" for kind in KINDS)
        )
        listed = StringCommand(
            "docker exec", QuoteString(container), "sh -c", QuoteString(looks), "sh", QuoteString(directory)
        )
        return StringCommand(listed, "2>/dev/null; true")

    @staticmethod
    def default() -> StorageState:
        """Nothing."""
        return StorageState()

    def process(self, output: list[str]) -> StorageState:
        """Read the answer of `command`."""
        found = [line.strip().rstrip("/").partition("/") for line in output if "/" in line]
        return StorageState(
            frozenset(name for kind, _, name in found if kind == "."),
            frozenset((kind, name) for kind, _, name in found if kind in KINDS and name),
        )
