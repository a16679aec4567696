"""The `temporal` command: `operator cluster health`, `operator namespace list` and `describe`."""

from __future__ import annotations

import argparse
import os
import sys

import grpc

from . import messages

TIMEOUT_S = 5


def call(address: str, method: str, request: bytes = b"", timeout_s: float = TIMEOUT_S) -> bytes:
    """One call.

    :param method: SERVICE/METHOD
    :raises grpc.RpcError: it failed
    """
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(f"/{method}")(request, timeout=timeout_s)
        return answer


def main() -> int:
    """Exit 0 with the answer, or 1 with the error."""
    parser = argparse.ArgumentParser(prog="temporal")
    parser.add_argument("--address", default=os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"))
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    service = messages.WORKFLOW_SERVICE
    try:
        match options.words:
            case ["operator", "cluster", "health"]:
                request = messages.write({1: service})
                state = messages.read(call(options.address, f"{messages.HEALTH_SERVICE}/Check", request))
                well = state.get(1) == messages.SERVING
                sys.stdout.write("SERVING\n" if well else "NOT_SERVING\n")
                return 0 if well else 1
            case ["operator", "namespace", "describe", name]:
                call(options.address, f"{service}/DescribeNamespace", messages.write({1: name}))
                sys.stdout.write(f"{name}\n")
                return 0
    except grpc.RpcError as error:
        sys.stderr.write(f"Error: {error.details()}\n")
        return 1
    sys.stderr.write("the stand-in knows: operator cluster health, operator namespace describe NAME\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
