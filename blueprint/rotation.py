"""`make rotate SECRET=…`: forget a generated password or key; the next run generates and deploys a new one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from blueprint import (
    Blueprint,
    DeclarationError,
    Secrets,
    Violation,
    environment_name,
    group_data,
    render_problems,
)


def rotate(name: str, blueprint: Blueprint, secrets: Secrets) -> None:
    """Forget a secret.

    :param name: "litellm/keys/coach-credit"
    :raises DeclarationError: the secret does not exist, it is provided, or data depends on it
    """
    if problem := _obstacle(name, blueprint, secrets):
        raise DeclarationError([problem])
    secrets.forget(name)


def rotatable(blueprint: Blueprint, secrets: Secrets) -> list[str]:
    """Names of all secrets that `rotate` takes."""
    return [name for name in secrets.names if _obstacle(name, blueprint, secrets) is None]


def _obstacle(name: str, blueprint: Blueprint, secrets: Secrets) -> Violation | None:
    """Reason why the next run cannot generate a secret again; None where it can."""
    provided = {
        key
        for stack in blueprint.stacks
        for service in stack.services
        for key in service.provided_secrets.values()
    }
    provided |= set(blueprint.backups.restic.environment.values() if blueprint.backups.restic else ())
    blocked = {
        one.name: one.rotation_blocked_by for one in blueprint.secret_formats if one.rotation_blocked_by
    }
    expected = "a generated secret that can be generated again"
    if name in provided or name.split("/")[0] in ("telegram", "registry"):
        remedy = f"have its provider issue another one, and write it into {secrets.file}"
        return Violation("SECRET", name, "a provided secret", expected, remedy)
    if name in blocked or name.endswith(".salt"):
        reason = blocked.get(name, "Postgres and PgBouncer know a password by it; rotate that")
        return Violation("SECRET", name, f"one that stays ({reason})", expected)
    return None


def main() -> int:
    """Forget the secret of the only argument, or report why that is refused."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        if not name:
            example = "such as make rotate SECRET=redis/litellm"
            raise DeclarationError(
                [Violation("make rotate", "SECRET", "missing", "the name of a secret", example)]
            )
        where = environment_name(os.environ)
        blueprint = group_data.read().blueprint(where)
        rotate(name, blueprint, Secrets.open(where, Path("secrets")))
    except DeclarationError as error:
        sys.stderr.write(f"{render_problems(error.problems)}\n")
        return 1
    sys.stdout.write(
        f"{name} is forgotten; the next deploy makes a new one and takes the old one out of use\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
