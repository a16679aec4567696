"""`gpu-sim`: what a test does to the hardware."""

from __future__ import annotations

import argparse
import sys
import syslog
from dataclasses import replace

from . import pci
from .state import HELD, Allocation, Gpu, Machine, load, runtime, runtime_folder, save, state_folder

XIDS = {
    13: "Graphics Engine Exception",
    31: "MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f3a_00000000",
    43: "Reset Channel",
    48: "DBE (double bit error) ECC Error",
    62: "Internal micro-controller halt",
    74: "NVLINK: fatal error detected",
    79: "GPU has fallen off the bus.",
    119: "Timeout after 6s of waiting for RPC response from GSP!",
}
"""Short texts of some error numbers (NVIDIA's Xid catalogue)."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="gpu-sim", description="Take the simulated GPUs apart, and put them back."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    card = {"metavar": "GPU", "help": "index, full UUID or PCI bus"}
    commands.add_parser("list", help="cards, memory, what is taken away")
    commands.add_parser("take-away", help="pull a card").add_argument("gpu", **card)  # type: ignore[arg-type]
    commands.add_parser("give-back", help="put every card back, in the order of the board's slots")
    order = commands.add_parser("reorder", help="enumerate the cards in another order")
    order.add_argument("order", metavar="3,1,0,…", help="the present indices, in their new order")
    fill = commands.add_parser("fill", help="occupy memory until it is freed")
    fill.add_argument("gpu", **card)  # type: ignore[arg-type]
    fill.add_argument("mib", metavar="MIB", type=int)
    commands.add_parser("free", help="undo fill").add_argument("gpu", **card)  # type: ignore[arg-type]
    xid = commands.add_parser("xid", help="log a driver error (read it with `journalctl -t kernel`)")
    xid.add_argument("gpu", **card)  # type: ignore[arg-type]
    xid.add_argument("code", metavar="CODE", type=int)
    commands.add_parser("unload-driver", help="no driver until the next reboot, as after its installation")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except LookupError as error:
        sys.stderr.write(f"gpu-sim: {error.args[0]}\n")
        return 2


def _run(options: argparse.Namespace) -> int:
    machine = load()
    match options.command:
        case "list":
            sys.stdout.write(listing(machine))
        case "take-away":
            gone = card(machine, options.gpu)
            change(machine, [replace(gpu, present=gpu.present and gpu != gone) for gpu in machine.gpus])
        case "give-back":
            whole = [replace(gpu, present=True) for gpu in machine.gpus]
            change(machine, sorted(whole, key=lambda gpu: gpu.bus))
        case "reorder":
            change(machine, reordered(machine, options.order))
        case "fill":
            gpu = card(machine, options.gpu)
            with runtime() as known:
                if options.mib > known.free_mib(gpu):
                    raise LookupError(f"{gpu.uuid} has {known.free_mib(gpu)} MiB free, not {options.mib}")
                known.allocations.append(Allocation(gpu.uuid, HELD, "", "gpu-sim", options.mib))
        case "free":
            gpu = card(machine, options.gpu)
            with runtime() as known:
                known.allocations = [a for a in known.allocations if (a.uuid, a.pid) != (gpu.uuid, HELD)]
        case "xid":
            raise_xid(card(machine, options.gpu), options.code)
        case "unload-driver":
            with runtime():  # makes the folder
                (runtime_folder() / "driver-unloaded").touch()
    return 0


def card(machine: Machine, identifier: str) -> Gpu:
    """The present card of this index, UUID or bus."""
    found = machine.find(identifier)
    if found is None:
        raise LookupError(f"no such card: {identifier}; see `gpu-sim list`")
    return found


def change(machine: Machine, gpus: list[Gpu]) -> None:
    """Make these the machine's cards; lspci shows it at once."""
    changed = replace(machine, gpus=gpus)
    save(changed)
    pci.write_tree(changed, state_folder() / "pci")


def reordered(machine: Machine, order: str) -> list[Gpu]:
    """All cards, the present ones in a new order of their indices."""
    present = machine.present
    if sorted(order.split(",")) != sorted(str(index) for index in range(len(present))):
        raise LookupError(f"{order} is no order of the indices 0 to {len(present) - 1}")
    absent = [gpu for gpu in machine.gpus if not gpu.present]
    return [present[int(index)] for index in order.split(",")] + absent


def raise_xid(gpu: Gpu, code: int) -> str:
    """Log a driver error as the kernel's driver does.

    A container has no kernel log of its own, so the line goes to the journal under the identifier `kernel`, which is
    also what the journal gives to real kernel messages: `journalctl -t kernel --grep 'NVRM: Xid'` reads both.
    """
    text = XIDS.get(code, "Unknown error")
    message = (
        f"NVRM: Xid (PCI:0000:{gpu.bus.removesuffix('.0')}): {code}, pid='<unknown>', name=<unknown>, {text}"
    )
    syslog.openlog("kernel", 0, syslog.LOG_USER)
    syslog.syslog(syslog.LOG_ERR, message)
    return message


def listing(machine: Machine) -> str:
    """One line a card."""
    lines = []
    with runtime() as known:
        for gpu in machine.gpus:
            index = str(machine.present.index(gpu)) if gpu.present else "-"
            state = f"{known.used_mib(gpu)} of {gpu.memory_mib} MiB used" if gpu.present else "taken away"
            lines.append(
                f"{index:>2}  {gpu.bus}  {gpu.uuid}  {gpu.name.removeprefix('NVIDIA GeForce '):<12} {state}\n"
            )
    return "".join(lines)
