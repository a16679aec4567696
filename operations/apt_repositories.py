"""Repositories of apt: further components of the distribution's own, and those of other publishers."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.apt_repositories import AptRepositories, Repositories, Target
from facts.cache import cached_fact
from operations import script
from operations.files import tree
from specs.files import File

SOURCES = "/etc/apt/sources.list.d"
KEYRINGS = "/etc/apt/keyrings"


def further_components(state: Repositories, desired: Sequence[str], path: str) -> str | None:
    """Content of the sources file that adds `desired` wherever the distribution's `main` comes from.

    None where nothing has to be added. What `path` itself brings already does not count as there.
    """
    others = [target for target in state.targets if target.file != path]
    stanzas = []
    for main in _distribution(others, state.codename):
        present = {
            target.component for target in others if (target.uri, target.suite) == (main.uri, main.suite)
        }
        missing = [component for component in desired if component not in present]
        if missing:
            stanzas.append(_stanza(main.uri, main.suite, missing, main.signed_by))
    return "\n".join(stanzas) or None


def _distribution(targets: Iterable[Target], codename: str) -> list[Target]:
    own = [
        target
        for target in targets
        if target.component == "main"
        and (target.suite == codename or target.suite.startswith(f"{codename}-"))
    ]
    return list({(target.uri, target.suite): target for target in own}.values())


def _stanza(uri: str, suite: str, components: Sequence[str], signed_by: str) -> str:
    lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}"]
    if components:
        lines.append(f"Components: {' '.join(components)}")
    if signed_by:
        lines.append(f"Signed-By: {signed_by}")
    return "\n".join(lines) + "\n"


@operation()
def components(name_of_file: str, desired: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Add components of the distribution itself, from the mirror that it already uses.

    + name_of_file: of the file in /etc/apt/sources.list.d that adds them, without its ending
    + desired: components, such as "contrib" and "non-free"
    """
    path = f"{SOURCES}/{name_of_file}.sources"
    content = further_components(cached_fact(AptRepositories, keyring=""), desired, path)
    if content is None:
        host.noop(f"{', '.join(desired)} configured")
        return
    yield from tree._inner(entries=[File(path, content)])


@operation()
def repository(
    name_of_file: str, uri: str, suite: str, key_url: str, fingerprint: str, components: Sequence[str] = ()
) -> Generator[StringCommand, None, None]:
    """Add a publisher's repository, trusted by exactly one key.

    + name_of_file: of its files in /etc/apt/sources.list.d and /etc/apt/keyrings, without their endings
    + uri, suite, components: as in sources.list(5); a flat repository has the suite "/" and no components
    + key_url: where its signing key is
    + fingerprint: of its primary key, 40 hexadecimal digits; another key is refused
    """
    keyring = f"{KEYRINGS}/{name_of_file}.gpg"
    state: Repositories = cached_fact(AptRepositories, keyring=keyring)
    if state.fingerprints != (fingerprint,):
        yield script.run("apt/keyring.sh", key_url, fingerprint, keyring, stream=True)
    # After its key: a run that ends in between leaves no source that apt would not trust.
    source = File(f"{SOURCES}/{name_of_file}.sources", _stanza(uri, suite, components, keyring))
    yield from tree._inner(entries=[source])
