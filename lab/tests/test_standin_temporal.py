"""The stand-in for Temporal: settings, what it makes in Elasticsearch, and its port, spoken to in gRPC."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetClusterInfoRequest,
    ListNamespacesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lab.images.elasticsearch import elasticsearch as es
from lab.images.temporal.temporal import VERSION, cli, messages, server, setup
from tests.unit.served import serving

ENVIRONMENT = {
    "DB": "postgres12",
    "DB_PORT": "5432",
    "POSTGRES_SEEDS": "temporal-pg",
    "POSTGRES_USER": "temporal",
    "POSTGRES_PWD": "p@ss",
    "ENABLE_ES": "true",
    "ES_SEEDS": "temporal-es",
}
SERVICE = messages.WORKFLOW_SERVICE
TEXT, KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_TEXT, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


def test_settings_as_the_image_reads_them() -> None:
    config = setup.configure(ENVIRONMENT)
    assert config.url(config.database) == "postgresql://temporal:p%40ss@temporal-pg:5432/temporal"
    assert (config.elasticsearch, config.namespace) == ("http://temporal-es:9200", "default")
    assert setup.configure(ENVIRONMENT | {"DB_PORT": ""}).port == 3306
    assert setup.configure(ENVIRONMENT | {"ENABLE_ES": "false"}).elasticsearch is None


@pytest.mark.parametrize(
    ("name", "value", "output"),
    [
        ("DB", "postgresql", "Unsupported driver specified: 'DB=postgresql'"),
        ("DB", "", "DB=cassandra"),
        ("POSTGRES_SEEDS", "", "POSTGRES_SEEDS env must be set if DB is postgres12"),
        ("ES_SEEDS", "", "ES_SEEDS env must be set if ENABLE_ES is true"),
    ],
)
def test_it_does_not_start_with(name: str, value: str, output: str) -> None:
    with pytest.raises(setup.SetupError, match=output):
        setup.configure(ENVIRONMENT | {name: value})


def test_it_waits_for_a_store() -> None:
    answers = iter([False, False, True])
    slept: list[float] = []
    setup.wait("PostgreSQL", lambda: next(answers), slept.append)
    assert len(slept) == 2


# --- Elasticsearch


@pytest.fixture
def elasticsearch(tmp_path: Path) -> Iterator[tuple[es.Node, setup.Config]]:
    node = es.Node(tmp_path)
    with serving(es.application(es.Api(node, {"discovery.type": "single-node"}))) as client:
        yield (
            node,
            setup.configure(ENVIRONMENT | {"ES_SEEDS": "127.0.0.1", "ES_PORT": str(client.base_url.port)}),
        )


def test_the_visibility_index_is_made_from_its_template(
    elasticsearch: tuple[es.Node, setup.Config],
) -> None:
    node, config = elasticsearch
    for _ in range(2):  # a container that starts again
        setup.make_index(config)
    assert list(node.indexes) == ["temporal_visibility_v1_dev"]
    assert node.indexes["temporal_visibility_v1_dev"].body["mappings"]["dynamic"] == "false"


def test_search_attributes_are_kept_in_the_index(elasticsearch: tuple[es.Node, setup.Config]) -> None:
    _, config = elasticsearch
    setup.make_index(config)
    running, port = server.serve(config, "127.0.0.1", 0)

    async def asked() -> None:
        service = (await Client.connect(f"127.0.0.1:{port}")).operator_service
        before = await service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        assert not before.custom_attributes and before.system_attributes["WorkflowId"] == KEYWORD
        attributes = {"organizationId": TEXT, "postId": TEXT}
        await service.add_search_attributes(
            AddSearchAttributesRequest(namespace="default", search_attributes=attributes)
        )
        after = await service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        assert after.custom_attributes == attributes
        assert after.system_attributes == before.system_attributes

    asyncio.run(asked())
    running.stop(None).wait()


# --- the port


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    known = [(uuid.UUID(int=1), "default")]
    monkeypatch.setattr(setup, "namespaces", lambda config: known)
    running, port = server.serve(setup.configure(ENVIRONMENT), "127.0.0.1", 0)
    yield f"127.0.0.1:{port}"
    running.stop(None).wait()


def test_health_as_grpc_has_it(address: str) -> None:
    check = f"{messages.HEALTH_SERVICE}/Check"
    assert messages.read(cli.call(address, check, messages.write({1: SERVICE}))) == {1: messages.SERVING}
    with pytest.raises(grpc.RpcError) as refused:
        cli.call(address, check, messages.write({1: "another"}))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_it_says_what_it_is_and_knows_its_namespaces(address: str) -> None:
    assert messages.text(messages.read(cli.call(address, f"{SERVICE}/GetSystemInfo")), 1) == VERSION
    answer = messages.read(cli.call(address, f"{SERVICE}/DescribeNamespace", messages.write({1: "default"})))
    assert isinstance(answer[1], bytes)
    assert messages.text(messages.read(answer[1]), 1) == "default"
    for method, code in (("DescribeNamespace", "NOT_FOUND"), ("StartWorkflowExecution", "UNIMPLEMENTED")):
        with pytest.raises(grpc.RpcError) as refused:
            cli.call(address, f"{SERVICE}/{method}", messages.write({1: "another"}))
        assert refused.value.code().name == code


def test_the_vendor_s_client_understands_it(address: str) -> None:
    async def asked() -> None:
        client = await Client.connect(address)
        assert await client.service_client.check_health()
        service = client.workflow_service
        info = await service.get_cluster_info(GetClusterInfoRequest())
        assert (info.server_version, info.cluster_name) == (VERSION, server.CLUSTER)
        described = await service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        listed = await service.list_namespaces(ListNamespacesRequest())
        for found in (described.namespace_info, *(each.namespace_info for each in listed.namespaces)):
            assert (found.name, found.id) == ("default", str(uuid.UUID(int=1)))
            assert not found.data and not found.description
        with pytest.raises(RPCError) as missing:
            await service.describe_namespace(DescribeNamespaceRequest(namespace="another"))
        assert missing.value.status is RPCStatusCode.NOT_FOUND
        with pytest.raises(RPCError) as refused:
            await client.start_workflow("publish", id="1", task_queue="posts")
        assert refused.value.status is RPCStatusCode.UNIMPLEMENTED

    asyncio.run(asked())


@pytest.mark.parametrize(
    ("words", "code", "output"),
    [
        ("operator cluster health", 0, "SERVING\n"),
        ("operator namespace describe default", 0, "default\n"),
        ("operator namespace describe another", 1, "Error: Namespace another is not found.\n"),
        ("workflow list", 1, "the stand-in knows"),
    ],
)
def test_the_command(
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    code: int,
    output: str,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setattr(sys, "argv", ["temporal", *words.split()])
    assert cli.main() == code
    printed = capsys.readouterr()
    assert output in printed.out + printed.err


def test_the_command_fails_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "TIMEOUT_S", 1)
    monkeypatch.setattr(
        sys, "argv", ["temporal", "operator", "cluster", "health", "--address", "127.0.0.1:1"]
    )
    assert cli.main() == 1


@pytest.mark.parametrize("content", [b"\x0a\x05abc", b"\x80", b"\x0d\x00\x00\x00\x00"])
def test_a_message_that_is_none(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        messages.read(content)


def test_messages_are_read_as_they_were_written() -> None:
    fields: dict[int, messages.Value] = {1: "é" * 100, 2: 300, 16: b"\x00"}
    assert messages.read(messages.write(fields)) == {1: ("é" * 100).encode(), 2: 300, 16: b"\x00"}
