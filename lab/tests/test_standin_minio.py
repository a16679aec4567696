"""The stand-in for MinIO refuses what MinIO refuses, before anything is started."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

MINIO = Path(__file__).parents[1] / "images/minio/minio"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(
        ["bash", str(MINIO), *arguments], env=variables, capture_output=True, text=True, timeout=10
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "only 'minio server DIR'"),
        (("gateway", "s3"), "only 'minio server DIR'"),
        (("server",), "at least one directory"),
        (("server", "/data", "/more"), "one directory only"),
        (("server", "/data", "--consol=:9001"), "flag provided but not defined"),
        (("server", "/data", "--address"), "flag needs an argument"),
    ],
)
def test_arguments(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize(("user", "password"), [("ab", "password"), ("user", "passwor")])
def test_credentials_that_are_too_short(user: str, password: str) -> None:
    done = run(
        "server", "/data", "--console-address=:9001", MINIO_ROOT_USER=user, MINIO_ROOT_PASSWORD=password
    )
    assert done.returncode == 1 and "at least 3" in done.stderr and password not in done.stderr
