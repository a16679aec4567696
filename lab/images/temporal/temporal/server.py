"""The frontend's gRPC port: health, what the server is, its namespaces, its search attributes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from . import VERSION, messages, setup

PORT = 7233
CLUSTER = "active"
_Method = Callable[[bytes, grpc.ServicerContext], bytes]


class Frontend(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc ships no types
    """Answers by the methods' full names; whatever it does not know is unimplemented, as gRPC has it."""

    def __init__(self, config: setup.Config) -> None:
        self._config = config
        service = messages.WORKFLOW_SERVICE
        self._methods: dict[str, _Method] = {
            f"/{messages.HEALTH_SERVICE}/Check": self._health,
            f"/{service}/GetSystemInfo": lambda _, __: messages.write({1: VERSION, 2: b""}),
            f"/{service}/GetClusterInfo": lambda _, __: messages.write({2: VERSION, 5: CLUSTER}),
            f"/{service}/DescribeNamespace": self._describe,
            f"/{service}/ListNamespaces": self._list,
            f"/{messages.OPERATOR_SERVICE}/ListSearchAttributes": self._search_attributes,
            f"/{messages.OPERATOR_SERVICE}/AddSearchAttributes": self._add_search_attributes,
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The method of a call."""
        method = self._methods.get(handler_call_details.method)
        return None if method is None else grpc.unary_unary_rpc_method_handler(method)

    def _health(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        name = messages.text(messages.read(request), 1)
        if name not in ("", messages.WORKFLOW_SERVICE):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return messages.write({1: messages.SERVING})

    def _describe(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        requested = messages.text(messages.read(request), 1)
        for number, name in setup.namespaces(self._config):
            if name == requested:
                return messages.write({1: _info(str(number), name)})
        context.abort(grpc.StatusCode.NOT_FOUND, f"Namespace {requested} is not found.")
        raise AssertionError  # abort has raised

    def _list(self, _: bytes, __: grpc.ServicerContext) -> bytes:
        found = setup.namespaces(self._config)
        return b"".join(
            messages.write({1: messages.write({1: _info(str(number), name)})}) for number, name in found
        )

    def _search_attributes(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            added, own = setup.search_attributes(self._config)
        except setup.SetupError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return messages.write_map(1, added) + messages.write_map(2, own)

    def _add_search_attributes(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            setup.add_search_attributes(self._config, messages.read_map(request, 1))
        except setup.SetupError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return b""


def _info(number: str, name: str) -> bytes:
    return messages.write({1: name, 2: messages.REGISTERED, 6: number})


def serve(config: setup.Config, host: str, port: int = PORT) -> tuple[grpc.Server, int]:
    """A running server, and its port.

    :raises SetupError: something else listens there
    """
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Frontend(config)])
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:  # newer gRPC; the older one answers 0
        bound = 0
    if not bound:
        raise setup.SetupError(f"cannot listen on {host}:{port}")
    server.start()
    return server, bound


def main() -> int:
    """Set up if told to (`autosetup`), then serve until SIGTERM; or exit 1 with the reason."""
    try:
        config = setup.configure(os.environ)
        if "autosetup" in sys.argv[1:]:
            setup.prepare(config)
            if config.namespace:
                setup.register(config, config.namespace)
        host = os.environ.get("BIND_ON_IP") or socket.gethostbyname(socket.gethostname())
        server, _ = serve(config, host)
    except (setup.SetupError, OSError) as error:
        setup.say(str(error))
        return 1
    setup.say(f"Temporal server {VERSION} (stand-in) started on {host}:{PORT}")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    done.wait()
    server.stop(grace=1).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
