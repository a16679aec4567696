"""The owner's chat."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.cache import cached_fact
from facts.stamp import Stamp
from operations import script


@operation()
def test_message(
    command: Sequence[str], credentials: str | bytes, stamp: str
) -> Generator[StringCommand, None, None]:
    """Send a message that shows that messages arrive: once for each pair of bot and chat.

    A Telegram that does not answer fails nothing. `command` says so, and keeps the message for later.

    + command: program on the host that sends it, and its arguments
    + credentials: file with the bot's token and the chat, as it is on the host; only its hash gets there
    + stamp: absolute path of the note that it was done
    """
    data = credentials.encode() if isinstance(credentials, str) else credentials
    desired = hashlib.sha256(data).hexdigest()
    if cached_fact(Stamp, path=stamp) == desired:
        host.noop("this bot has written to this chat")
        return
    yield script.run("monitoring/test-message.sh", stamp, *command, payload=f"{desired}\n", stream=True)
