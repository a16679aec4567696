"""Settings of a script as the deploy writes them: one file of JSON without a secret in it, and one with the logins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incidents import ConfigurationError


@dataclass(frozen=True)
class Login:
    """How a server is logged in to; `password` is empty where none is asked for."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user})"


def read(path: Path) -> tuple[dict[str, Any], Mapping[str, Login]]:
    """Settings, and the logins of the file that they name as `credentials`, by container.

    :raises ConfigurationError: with the file's name
    """
    try:
        said: dict[str, Any] = json.loads(path.read_text())
        logins = json.loads(Path(said["credentials"]).read_text())
        return said, {name: Login(login["user"], login["password"]) for name, login in logins.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Of a file with passwords, no word.
        raise ConfigurationError(f"{path} or its credentials: {type(error).__name__}") from None
