"""Where a lab lives: its name, its addresses and its folders, all derived from the checkout it belongs to."""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sourcefast-lab"


@dataclass(frozen=True)
class Lab:
    """One lab. `number` (1..254) is its share of 198.18.0.0/16, the benchmark range of RFC 2544."""

    checkout: Path
    number: int

    @property
    def name(self) -> str:
        """Prefix of everything that has to be unique on this machine: interfaces, namespaces, nspawn machines."""
        return f"sf{self.number}"

    @property
    def state(self) -> Path:
        """Private folder of this checkout's lab (`.lab/`): keys, logs, overlays, snapshots."""
        return self.checkout / ".lab"

    @property
    def subnet4(self) -> str:
        return f"198.18.{self.number}.0/24"

    @property
    def subnet6(self) -> str:
        return f"fd53:f0{self.number:02x}::/64"

    def address4(self, host: int) -> str:
        return f"198.18.{self.number}.{host}"

    def address6(self, host: int) -> str:
        return f"fd53:f0{self.number:02x}::{host}"

    @property
    def gateway(self) -> str:
        """The end of the lab's bridge on this machine: tests and pyinfra speak to the lab from here."""
        return self.address4(1)

    @property
    def machine(self) -> str:
        """The server that is provisioned."""
        return self.address4(2)

    @property
    def upstream(self) -> str:
        """The simulated internet."""
        return self.address4(3)

    @property
    def outside(self) -> str:
        """A stranger's host, in a namespace of its own, from which ports are tried."""
        return self.address4(4)


def lab(checkout: Path = CHECKOUT) -> Lab:
    """The lab of a checkout. Its number is claimed once, under a lock, so that two checkouts never meet."""
    claims = CACHE / "labs"
    claims.mkdir(parents=True, exist_ok=True)
    with (claims / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken: dict[int, Path] = {}
        for claim in claims.glob("[0-9]*"):
            owner = Path(claim.read_text())
            if owner.is_dir():
                taken[int(claim.name)] = owner
            else:  # the checkout is gone, and with it its lab
                claim.unlink()
        for number, owner in taken.items():
            if owner == checkout:
                return Lab(checkout, number)
        start = int.from_bytes(hashlib.sha256(str(checkout).encode()).digest()[:2], "big") % 254
        for step in range(254):
            number = (start + step) % 254 + 1
            if number not in taken:
                (claims / str(number)).write_text(str(checkout))
                return Lab(checkout, number)
    raise SystemExit(
        f"all 254 labs of {claims} are claimed; remove the claims of checkouts you no longer use"
    )
