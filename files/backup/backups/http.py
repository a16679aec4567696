"""HTTP to a server in a container, at its address in Docker's network, past any proxy of the host."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from containers import ScriptError

TIMEOUT_S = 600


@contextmanager
def connected(address: str, port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection for several requests.

    :raises ScriptError: the connection failed in the context
    """
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    try:
        yield connection
    except (OSError, http.client.HTTPException) as error:
        raise ScriptError(f"{address}:{port}: {type(error).__name__}: {error}") from None
    finally:
        connection.close()


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> http.client.HTTPResponse:
    """The answer to one request.

    :raises ScriptError: any status but success; with the text of the answer
    """
    connection.request(method, path, body=body, headers=dict(headers))
    answer = connection.getresponse()
    if answer.status >= 300:
        text = " ".join(answer.read().decode(errors="replace").split())
        raise ScriptError(f"{method} {path.partition('?')[0]}: {answer.status} {answer.reason}: {text[:300]}")
    return answer
