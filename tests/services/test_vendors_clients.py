"""What keeps Langfuse's data, asked by the vendors' own clients, which must not notice the lab's stand-ins."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from minio import Minio
from minio.error import S3Error

from tests.services.datastores import Datastores

BUCKET, TABLE = "vendors-client", "vendors_client"


@pytest.fixture
def minio(datastores: Datastores) -> Iterator[Callable[[str], Minio]]:
    """MinIO's own client, by the password that it has."""
    address = f"127.0.0.1:{datastores.port(('minio', 9000))}"
    yield lambda password: Minio(address, "langfuse", password, secure=False)


def test_minio_keeps_objects(minio: Callable[[str], Minio], datastores: Datastores) -> None:
    client = minio(datastores.password("minio/password"))
    client.make_bucket(bucket_name=BUCKET)
    try:
        assert {"langfuse", BUCKET} <= {bucket.name for bucket in client.list_buckets()}
        content = b"x" * 100_000
        for name in ("a/1.json", "a/2.json", "b.json"):
            client.put_object(
                bucket_name=BUCKET, object_name=name, data=io.BytesIO(content), length=len(content)
            )
        found = client.list_objects(bucket_name=BUCKET, prefix="a/", recursive=True)
        assert [each.object_name for each in found] == ["a/1.json", "a/2.json"]
        assert client.stat_object(bucket_name=BUCKET, object_name="b.json").size == len(content)
        part = client.get_object(bucket_name=BUCKET, object_name="b.json", offset=10, length=5)
        assert part.read() == b"xxxxx"
        link = client.presigned_get_object(
            bucket_name=BUCKET, object_name="b.json", expires=timedelta(minutes=1)
        )
        assert "X-Amz-Signature" in link
        for name in ("a/1.json", "a/2.json", "b.json"):
            client.remove_object(bucket_name=BUCKET, object_name=name)
        with pytest.raises(S3Error) as gone:
            client.stat_object(bucket_name=BUCKET, object_name="b.json")
        assert gone.value.code == "NoSuchKey"
    finally:
        client.remove_bucket(bucket_name=BUCKET)
    assert not client.bucket_exists(bucket_name=BUCKET)


def test_minio_refuses_another_key(minio: Callable[[str], Minio]) -> None:
    with pytest.raises(S3Error) as refused:
        minio("another-password").list_buckets()
    assert refused.value.code in ("SignatureDoesNotMatch", "AccessDenied")


@pytest.fixture
def clickhouse(datastores: Datastores) -> Iterator[Client]:
    """ClickHouse's own client."""
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=datastores.port(("clickhouse", 8123)),
        username="langfuse",
        password=datastores.password("clickhouse/password"),
        compress="gzip",  # the one encoding that the stand-in knows
    )
    with client:
        yield client
        client.command(f"DROP TABLE IF EXISTS {TABLE}")


def test_clickhouse_keeps_rows(clickhouse: Client) -> None:
    clickhouse.command(f"CREATE TABLE {TABLE} (n UInt32, name String) ENGINE = MergeTree ORDER BY n")
    clickhouse.insert(TABLE, [[1, "one"], [2, "deux é"]], column_names=["n", "name"])
    asked = clickhouse.query(f"SELECT name FROM {TABLE} WHERE n = {{n:UInt32}}", parameters={"n": 2})
    assert asked.result_rows == [("deux é",)]
    assert clickhouse.command("SELECT count() FROM system.tables WHERE name = 'traces'") == 1
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        clickhouse.query("SELECT * FROM nothing")
