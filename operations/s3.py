"""Buckets of an S3-compatible object storage in a container of the host."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.cache import cached_fact
from facts.s3 import KINDS, Storage, StorageState
from operations import script
from specs.problems import Problem

# Where the container keeps its buckets.
DIRECTORY = "/data"


# Of what MinIO keeps of others, what lets them in.
_LOGINS = ("users", "service-accounts", "groups")


def _read_state(container: str) -> StorageState:
    actual: StorageState = cached_fact(Storage, container=container, directory=DIRECTORY)
    return actual


@operation()
def bucket(
    bucket: str, container: str, port: int, access_key: str, secret_key: str
) -> Generator[StringCommand, None, None]:
    """Create a bucket over the S3 API. An existing one is left as it is, whatever it holds.

    The host speaks to the container's own address: nothing has to be published. The keys travel on standard input.

    + bucket: its name, as S3 allows it
    + container: name of the container that serves it, from its /data; it runs and is healthy
    + port: of the API in the container
    + access_key: of somebody who may create buckets; no line breaks
    + secret_key: that belongs to it
    """
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise OperationValueError(
            f"bucket {bucket!r}: expected 3 to 63 of a-z, 0-9, dot and hyphen, letters or digits at both ends"
        )
    if any(not key or "\n" in key for key in (access_key, secret_key)):
        raise OperationValueError(f"bucket {bucket}: a key is empty or has a line break")
    if bucket in _read_state(container).buckets:
        host.noop(f"bucket {bucket} is there")
        return
    yield script.run(
        "s3/create-bucket.sh", container, port, bucket, payload=f"{access_key}\n{secret_key}\n", stream=True
    )


def right_problems(container: str, actual: StorageState) -> Iterator[Problem]:
    """A problem for each identity beside its root.

    :param container: that serves it
    """
    for kind, name in sorted(actual.identities):
        if kind in _LOGINS:
            yield Problem(
                f"{container}: {KINDS[kind]} {name}",
                "there: it may read what its policies say, which only its root can tell",
                "nobody but its root",
                f"mc admin {'accesskey' if kind == 'service-accounts' else KINDS[kind]} rm …, or on its console",
            )


def stray_sentences(container: str, declared: Iterable[str], actual: StorageState) -> Iterator[str]:
    """A sentence for each kind of undeclared bucket and policy.

    :param declared: names of buckets
    """
    strays = {
        "buckets": actual.buckets - {*declared},
        "policies": {name for kind, name in actual.identities if kind == "policies"},
    }
    for kind, names in strays.items():
        if names:
            listed = ", ".join(sorted(names))
            yield f"{kind} of {container} that are not declared: {listed}; they stay until they are deleted"
