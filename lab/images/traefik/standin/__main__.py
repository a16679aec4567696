"""`traefik [OPTIONS]`, `traefik healthcheck [OPTIONS]` and `traefik version`."""

from __future__ import annotations

import http.client
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import docker
from .acme import Acme
from .certificates import Certificates
from .files import Files
from .options import OptionError, Options, parse
from .proxy import EntryPoint
from .routing import Provider, Table, merged, table

POLL_S = 1.0
VERSION = "3.3 (stand-in)"


class Traefik:
    """The routes as they are now, and a certificate for each domain in them."""

    def __init__(self, options: Options, certificates: Certificates) -> None:
        self.options, self.certificates = options, certificates
        self.table = Table()

    def watch(self) -> None:
        """Follow Docker and the files for ever."""
        logged: tuple[str, ...] = ()
        files = Files(self.options.files)
        providers = []
        if self.options.docker:
            providers.append(Provider(lambda: table(docker.containers(self.options.endpoint), self.options)))
        if self.options.files:
            providers.append(Provider(lambda: files.table(self.options)))
        while True:
            found = merged(providers)
            if found.routes != self.table.routes:
                say("INF", f"routes: {', '.join(route.name for route in found.routes) or 'none'}")
            for problem in found.errors:
                if problem not in logged:
                    say("ERR", problem)
            logged = found.errors
            self.table = found
            time.sleep(POLL_S)

    def certify(self) -> None:
        """Have a certificate for each domain, for ever: it takes seconds, for which routes do not wait."""
        while True:
            routes = [route for route in self.table.routes if route.resolver]
            for domain, resolver in sorted({(host, r.resolver) for r in routes for host in r.hosts}):
                try:
                    self.certificates.ensure(domain, resolver)
                except OSError as error:
                    say("ERR", f"unable to obtain ACME certificate for domains [{domain}]: {error}")
            time.sleep(POLL_S)


def healthcheck(options: Options) -> int:
    """Ask the running proxy's /ping."""
    if not options.ping:
        sys.stderr.write("please enable `ping` to use health check\n")
        return 1
    connection = http.client.HTTPConnection("127.0.0.1", options.entrypoints[options.ping], timeout=5)
    try:
        connection.request("HEAD", "/ping")
        status = connection.getresponse().status
    except OSError as error:
        sys.stderr.write(f"Error calling healthcheck: {error}\n")
        return 1
    return 0 if status == 200 else 1


def say(level: str, text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {level} {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve until SIGTERM."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["version"]:
        sys.stdout.write(f"Version:      {VERSION}\n")
        return 0
    checking = arguments[:1] == ["healthcheck"]
    try:
        options = parse(arguments[1:] if checking else arguments)
    except OptionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if checking:
        return healthcheck(options)
    acme = Acme(Path(tempfile.mkdtemp()))
    traefik = Traefik(options, Certificates(next(iter(options.resolvers.values()), ""), acme.obtain))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for name, port in options.entrypoints.items():
        entrypoint = EntryPoint(
            name,
            port,
            lambda: traefik.table,
            traefik.certificates.default,
            ping=name == options.ping,
            redirect=name in options.redirects,
            challenge=acme.answer if name == options.challenge else None,
        )
        threading.Thread(target=entrypoint.serve_forever, daemon=True).start()
        say("INF", f"entry point {name} on port {port}")
    if options.docker or options.files:
        threading.Thread(target=traefik.certify, daemon=True).start()
        traefik.watch()
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
