"""The S3 requests that a backup needs, signed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

from containers import ScriptError, address_of

from backups.http import connected, request
from backups.settings import Login

REGION = "us-east-1"
OBJECT_HEADERS = ("content-type", "content-encoding", "cache-control")
METADATA = "x-amz-meta-"


@dataclass(frozen=True)
class Client:
    """One bucket of a server. `host`: the host that requests are signed for."""

    connection: HTTPConnection = field(repr=False)
    host: str
    bucket: str
    login: Login

    def keys(self) -> Iterator[str]:
        """Keys of all objects."""
        token = ""
        while True:
            query = {"list-type": "2", "max-keys": "1000"} | ({"continuation-token": token} if token else {})
            tree = ElementTree.fromstring(self._request("GET", "", query).read())  # noqa: S314 - from our own server
            for element in tree.iter():
                if element.tag.endswith("}Key") or element.tag == "Key":
                    yield element.text or ""
            # In no namespace or in S3's, depending on the server.
            token = next(
                (each.text or "" for each in tree.iter() if each.tag.endswith("NextContinuationToken")), ""
            )
            if not token:
                return

    def get(self, key: str) -> HTTPResponse:
        return self._request("GET", key)

    def put(self, key: str, content: bytes, headers: Mapping[str, str]) -> None:
        self._request("PUT", key, content=content, headers=headers).read()

    def exists(self) -> bool:
        """Whether the bucket exists."""
        try:
            self._request("HEAD", "").read()
        except ScriptError as error:
            if ": 404 " in str(error):
                return False
            raise
        return True

    def create(self) -> None:
        self._request("PUT", "").read()

    def _request(
        self,
        method: str,
        key: str,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> HTTPResponse:
        path = quote(f"/{self.bucket}/{key}" if key else f"/{self.bucket}", safe="/-_.~")
        text = urlencode(sorted((query or {}).items()), quote_via=quote, safe="-_.~")
        signed = sign(
            self.login, method, path, text, {"host": self.host, **(headers or {})}, content, time.gmtime()
        )
        return request(self.connection, method, f"{path}?{text}" if text else path, signed, content)


@contextmanager
def client(container: Mapping[str, Any], port: int, bucket: str, login: Login) -> Iterator[Client]:
    """A client of a server in a container."""
    address = address_of(container)
    with connected(address, port) as connection:
        yield Client(connection, f"{address}:{port}", bucket, login)


def object_headers(answer: HTTPResponse) -> dict[str, str]:
    """Headers of an answer that belong to the object."""
    return {
        name.lower(): value
        for name, value in answer.getheaders()
        if name.lower() in OBJECT_HEADERS or name.lower().startswith(METADATA)
    }


def sign(
    login: Login,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    content: bytes,
    when: time.struct_time,
) -> dict[str, str]:
    """The headers of a request with its signature (AWS4-HMAC-SHA256)."""
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", when), time.strftime("%Y%m%d", when)
    digest = hashlib.sha256(content).hexdigest()
    signed = {**headers, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    canonical = "\n".join([method, path, query, lines, names, digest])
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{login.password}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    signed["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={login.user}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed
