"""A project as an intruder: programs run in one of its own containers, with that container's own environment."""

from __future__ import annotations

import json
import shlex
import textwrap
from dataclasses import dataclass
from typing import Any

from blueprint.model import Project
from lab.machine import Machine
from tests.services.declared import everything

# What every program below begins with.
_PRELUDE = """
import json, os, socket, sys, urllib.error, urllib.request

def answer(url, body=None, key=None, method=None, headers=None, timeout=30):
    "Status and text of an HTTP answer; status 0 where there is none."
    sent = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    if key:
        sent["Authorization"] = "Bearer " + key
    request = urllib.request.Request(url, data=body, headers=sent, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)

def connects(host, port, timeout=3):
    "Whether a TCP connection is accepted."
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True

arguments = json.loads(sys.argv[1])
"""


@dataclass(frozen=True)
class Tenant:
    """A project, in the first of its containers (which has Python).

    :param project: its declaration
    :param machine: the host
    """

    project: Project
    machine: Machine

    @property
    def container(self) -> str:
        """The container that its programs run in."""
        return self.project.services[0].name

    def python(self, program: str, **arguments: Any) -> Any:
        """What a program prints as JSON.

        :param program: Python, indented as one likes; `answer`, `connects`, `os`, `socket` … are there
        :param arguments: its `arguments`, a dict
        :raises AssertionError: where it fails, with what it said
        """
        script = _PRELUDE + textwrap.dedent(program)
        command = ["docker", "exec", "-i", self.container, "python3", "-", json.dumps(arguments)]
        done = self.machine.run(shlex.join(command), check=False, timeout=300, input=script)
        assert done.returncode == 0, f"{self.container}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)


def tenants(machine: Machine) -> list[Tenant]:
    """All projects, in the order of their numbers."""
    return [Tenant(project, machine) for project in everything().projects]
