"""Who may do what in the simulated internet: random credentials of one lab, made once."""

from __future__ import annotations

import json
import secrets
import string

from lab.authority import write_private
from lab.paths import Lab


def keys(lab: Lab) -> dict[str, str]:
    """The credentials that the lab's upstream accepts, by what they are for."""
    path = lab.state / "upstream" / "keys.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    accepted = _generated() | known  # a lab that was made before somebody was simulated
    if accepted != known:
        write_private(path, json.dumps(accepted, indent=2).encode())
    return accepted


def seeds(lab: Lab) -> dict[str, str]:
    """The same credentials as entries of `secrets/lab.yaml`, by path."""
    accepted = keys(lab)
    return {
        "groq/api_key": accepted["groq"],
        "openai/api_key": accepted["openai"],
        "gemini/api_key": accepted["gemini"],
        "telegram/token": accepted["telegram"],
        "telegram/chat": accepted["telegram_chat"],
        # Nobody is simulated who would take these: they are only handed on to the containers.
        "spotify/client_id": accepted["spotify_id"],
        "spotify/client_secret": accepted["spotify_secret"],
        "genius/api_token": accepted["genius"],
        "firecrawl/api_key": accepted["firecrawl"],
        "google_places/api_key": accepted["google_places"],
    }


def _generated() -> dict[str, str]:
    """New credentials, each in its provider's form: a program that checks the form accepts it."""
    return {
        "groq": f"gsk_{_letters(52)}",
        "openai": f"sk-proj-{_letters(64)}",
        "gemini": f"AIza{_letters(35)}",
        "telegram": f"{secrets.randbelow(9 * 10**9) + 10**9}:AA{_letters(33)}",
        "telegram_chat": str(secrets.randbelow(9 * 10**8) + 10**8),
        "spotify_id": secrets.token_hex(16),
        "spotify_secret": secrets.token_hex(16),
        "genius": _letters(64),
        "firecrawl": f"fc-{secrets.token_hex(16)}",
        "google_places": f"AIza{_letters(35)}",
        "registry_user": "sourcefast",
        "registry_password": _letters(40),
    }


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))
