"""Settings of a script as the deployment writes them: a JSON file without secrets, and one with the logins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incidents import ConfigurationError


@dataclass(frozen=True)
class Login:
    """A login to a server; `password` is empty where the server asks for none."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user})"


def read(path: Path) -> tuple[dict[str, Any], Mapping[str, Login]]:
    """Settings, and the logins by container, from the file that the settings name as `credentials`.

    :raises ConfigurationError: with the file's name
    """
    try:
        settings: dict[str, Any] = json.loads(path.read_text())
        logins = json.loads(Path(settings["credentials"]).read_text())
        return settings, {name: Login(login["user"], login["password"]) for name, login in logins.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The text of the error could quote a file with passwords.
        raise ConfigurationError(f"{path} or its credentials: {type(error).__name__}") from None
