"""What dpkg and apt say about packages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

# Files that say what `apt-get update` has to fetch, and with whose signature.
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d")
# When the last `apt-get update` succeeded: files/host/apply-packages.sh and unattended upgrades keep it.
UPDATED = "/var/lib/apt/periodic/update-success-stamp"


@dataclass(frozen=True)
class PackagesState:
    """Answer of `Packages`. Times are seconds since the epoch by the host's clock, None for never.

    :param held: of the installed ones, those that no upgrade touches
    :param broken: half-installed, unpacked, half-configured or waiting for triggers
    :param candidates: what apt could install; asked for only when a package is missing
    """

    installed: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    broken: tuple[str, ...] = ()
    candidates: frozenset[str] = frozenset()
    now: float = 0.0
    sources_changed: float | None = None
    updated: float | None = None


class Packages(FactBase[PackagesState]):
    """State of many packages in one question, and whether apt's lists are fit to install the missing ones.

    :param names: packages that may have to be installed, without architecture
    :param others: further packages whose state matters
    """

    def command(self, names: Iterable[str], others: Iterable[str] = ()) -> StringCommand:
        """dpkg's own state keeps holds too (`h` in front), so that `apt-mark` need not be asked."""
        packages = [QuoteString(name) for name in dict.fromkeys(names)]
        further = [QuoteString(name) for name in dict.fromkeys(others)]
        return StringCommand(
            *("set --", *packages, "; export LC_ALL=C;"),
            r"dpkg-query -W -f 'package\t${db:Status-Abbrev}\t${Package}\n' --",
            *('"$@"', *further, "2>/dev/null;"),
            r"dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\n' | sed -n '/^.[HUFWt]\|^..R/s/^/broken /p';",
            r"""[ -z "$(ls /var/lib/dpkg/updates 2>/dev/null)" ] || printf 'broken iU\tdpkg\n';""",
            # apt takes twenty times as long as dpkg: only for what it could have to install
            r"""[ "$(dpkg-query -W -f '${db:Status-Abbrev}\n' -- "$@" 2>/dev/null | grep -c '^.i')" -ge $# ] ||""",
            'apt-cache policy -- "$@" 2>/dev/null;',
            "date '+now %s';",
            *("find", *SOURCES, r"-printf 'sources %T@\n' 2>/dev/null;"),
            # without the stamp: when the lists were last written, if there are any
            rf"find {UPDATED} -printf 'updated %T@\n' 2>/dev/null ||",
            r"find /var/lib/apt/lists -maxdepth 1 -name '*_InRelease' -printf 'updated %T@\n' 2>/dev/null; true",
        )

    @staticmethod
    def default() -> PackagesState:
        """Nothing is known."""
        return PackagesState()

    def process(self, output: list[str]) -> PackagesState:
        """Read the answer of `command`."""
        return read_packages(output)


def read_packages(output: Iterable[str]) -> PackagesState:
    """Read what `Packages.command` prints."""
    installed: set[str] = set()
    held: set[str] = set()
    broken: list[str] = []
    candidates: set[str] = set()
    times: dict[str, list[float]] = {"now": [], "sources": [], "updated": []}
    policy_of = ""
    for line in output:
        word, _, rest = line.partition(" ")
        if line.startswith("package\t"):
            _, status, name = line.split("\t")
            if status[1] == "i":
                installed.add(name)
                if status[0] == "h":
                    held.add(name)
        elif word == "broken":
            broken.append(rest.partition("\t")[2])
        elif word in times:
            times[word].append(float(rest))
        elif line.endswith(":") and not line.startswith(" "):
            policy_of = line[:-1]
        elif line.startswith("  Candidate: ") and "(none)" not in line:
            candidates.add(policy_of)
    if not times["now"]:
        raise FactProcessError("the host did not say what time it is; its answer was cut short")
    return PackagesState(
        frozenset(installed),
        frozenset(held),
        tuple(dict.fromkeys(broken)),
        frozenset(candidates),
        times["now"][0],
        max(times["sources"], default=None),
        max(times["updated"], default=None),
    )
