"""Settings of sshd for every login, in a file of our own beside those of the owner."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.sshd import Sshd, SshdLine, SshdState
from operations import script
from operations.checks import failure
from operations.trial import CONFIRM_WITHIN, OverNewConnection
from specs.problems import Problem

# The setting of each way to log in with a password.
PASSWORDS = {"password": "passwordauthentication", "keyboard-interactive": "kbdinteractiveauthentication"}
UNIT = "ssh-settings-rollback"
TRIAL = "/run/ssh-settings"
FOR_EVERYBODY = "# Beside what the owner has set himself in another file: what somebody set first holds.\n"
KEEP = OverNewConnection(
    f"systemctl stop {UNIT}.timer && rm -r {TRIAL}",
    rollback=StringCommand(f"systemctl start {UNIT}.service; systemctl stop {UNIT}.timer"),
    tried="settings of sshd",
    advice="Look whether the key that is used from here opens the host by itself (ssh -o PasswordAuthentication=no)",
)


@dataclass(frozen=True)
class Setting:
    """One setting.

    :param keyword: as in sshd_config(5)
    :param value: as in sshd_config(5)
    :param as_good: other values that serve
    """

    keyword: str
    value: str
    as_good: tuple[str, ...] = ()

    def accepts(self, value: str | None) -> bool:
        """Whether a value is the declared one, or as good."""
        return value is not None and value.lower() in (self.value, *self.as_good)


def owners(settings: Iterable[Setting], actual: SshdState) -> dict[str, SshdLine]:
    """The place of each of `settings` that the owner has set for everybody. Of several places, the first counts."""
    desired = {setting.keyword.lower() for setting in settings}
    first: dict[str, SshdLine] = {}
    for line in actual.lines:
        if line.keyword in desired and line.match is None:
            first.setdefault(line.keyword, line)
    return first


def render(settings: Sequence[Setting], actual: SshdState) -> str:
    """Text of our file: all but what the owner has set himself."""
    overridden = owners(settings, actual)
    ours = [setting for setting in settings if setting.keyword.lower() not in overridden]
    return FOR_EVERYBODY + "".join(f"{setting.keyword} {setting.value}\n" for setting in ours)


def contradictions(settings: Sequence[Setting], actual: SshdState) -> Iterator[str]:
    """A sentence for each setting that the owner has set otherwise, which stays."""
    overridden = owners(settings, actual)
    for line in actual.lines:
        setting = next((each for each in settings if each.keyword.lower() == line.keyword), None)
        if setting is None or setting.accepts(line.value):
            continue
        if line.match is None and overridden[line.keyword] is not line:
            continue  # another of his lines comes first, and holds
        whom = f" ({line.match})" if line.match else ""
        yield (
            f"sshd: found {setting.keyword} {line.value} in {line.place}{whom}; expected {setting.value}. It is left, "
            "since it is the owner's: remove the line, and the next run sets it"
        )


def ineffective(settings: Sequence[Setting], actual: SshdState) -> Iterator[Problem]:
    """A problem for each setting of our file that is not in effect."""
    overridden = owners(settings, actual)
    for setting in settings:
        name = setting.keyword.lower()
        if name in overridden or setting.accepts(actual.effective.get(name)):
            continue
        yield Problem(
            f"sshd: {setting.keyword}",
            actual.effective.get(name, "no answer of sshd -T"),
            setting.value,
            "does /etc/ssh/sshd_config begin with `Include /etc/ssh/sshd_config.d/*.conf`? sshd -T says what is wrong",
        )


def lockout(settings: Sequence[Setting], actual: SshdState, method: str | None) -> Iterator[Problem]:
    """A problem where nobody could log in any more as this session did.

    :param method: of this session's login, "publickey"; None where it is unknown
    """
    closed = {each.keyword.lower() for each in settings if each.value == "no"} - owners(
        settings, actual
    ).keys()
    if method in PASSWORDS:
        locked_out = PASSWORDS[method] in closed
    else:
        locked_out = method is None and not actual.keys and closed.issuperset(PASSWORDS.values())
    if actual.installed and locked_out:
        yield Problem(
            "SSH",
            "this session logged in with a password" if method else "no key that opens this user's login",
            "a login with a key: passwords are switched off",
            "ssh-copy-id USER@HOST, log in with the key, and run again",
        )


def login_method() -> str | None:
    """How this run's own connection logged in, as SSH calls it; None for a connection without paramiko."""
    client = getattr(getattr(host, "connector", None), "client", None)
    transport = client.get_transport() if client is not None else None
    return getattr(getattr(transport, "auth_handler", None), "auth_method", None) or None


@operation()
def settings(
    path: str, settings: Sequence[Setting]
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Set sshd for everybody, in a file of our own under sshd_config.d.

    What the owner has set himself stays, and is named where it contradicts: for everybody, in which case it is left
    out, or in a Match block, which goes before all of these.

    sshd itself checks the file first, and a new SSH connection has to confirm it: otherwise the former one comes back.
    Fails where sshd does something else nevertheless.

    + path: of the file
    + settings: for everybody

    **Example:**

    .. code:: python

        sshd.settings(
            name="Keys only",
            path="/etc/ssh/sshd_config.d/50-keys-only.conf",
            settings=[Setting("PasswordAuthentication", "no")],
        )
    """
    actual: SshdState = cached_fact(Sshd, path=path)
    if not actual.installed:
        host.noop("there is no sshd")
        return
    if state.is_executing:
        for sentence in contradictions(settings, actual):
            host.log_styled(sentence, fg="yellow", log_func=logger.warning)
    text = render(settings, actual)
    if actual.ours != text or actual.trial:
        yield script.run("ssh/try.sh", path, CONFIRM_WITHIN, UNIT, payload=text)
        yield KEEP
        if not state.is_executing:
            return
        actual = host.get_fact(Sshd, path=path)
    if problems := list(ineffective(settings, actual)):
        yield failure("Settings of sshd", problems)
    elif actual.ours == text:
        host.noop("as declared")
