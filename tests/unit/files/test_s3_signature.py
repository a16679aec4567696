"""The signature of S3 requests, by the example of its documentation.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html ("GET Object")
"""

from __future__ import annotations

import subprocess
import sys

from tests.unit.paths import CHECKOUT

EXAMPLE = """
import time
from backups.s3 import sign
from backups.settings import Login
login = Login("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
headers = {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"}
when = time.strptime("20130524T000000Z", "%Y%m%dT%H%M%SZ")
print(sign(login, "GET", "/test.txt", "", headers, b"", when)["Authorization"])
"""


def test_it_is_the_documented_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE],
        env={
            "PYTHONPATH": f"{CHECKOUT}/files/backup:{CHECKOUT}/files/common",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
