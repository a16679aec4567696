"""The stand-in for Elasticsearch: what it refuses to start with, and its API over HTTP."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from elasticsearch import ConflictError, Elasticsearch, NotFoundError, RequestError

from lab.images.elasticsearch import elasticsearch as es
from tests.unit.served import serving

SINGLE = {"discovery.type": "single-node"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(es.application(es.Api(es.Node(tmp_path), SINGLE))) as found:
        yield found


# --- settings


def test_settings_come_in_three_ways_and_options_win() -> None:
    environment = {
        "discovery.type": "zen",
        "ES_SETTING_XPACK_SECURITY_ENABLED": "false",
        "ES_SETTING_CLUSTER_INITIAL__MASTER__NODES": "a",
        "PATH": "/bin",
    }
    assert es.settings(environment, ["-E", "discovery.type=single-node", "-Enode.name=n"]) == {
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "cluster.initial_master_nodes": "a",
        "node.name": "n",
    }


@pytest.mark.parametrize(
    ("environment", "options", "output"),
    [
        ({}, [], "default discovery settings are unsuitable"),
        ({"ES_JAVA_OPTS": "-Xms256m -Xmx512m"}, [], r"\[2\] bootstrap checks failed"),
        (SINGLE | {"ES_JAVA_OPTS": "-Xms256m"}, [], "both -Xms and -Xmx"),
        ({"discovery.type": "single"}, [], r"Unknown discovery type \[single\]"),
        (SINGLE, ["eswrapper"], "Positional arguments not allowed"),
    ],
)
def test_it_does_not_start_with(environment: dict[str, str], options: list[str], output: str) -> None:
    with pytest.raises(es.SettingsError, match=output):
        es.settings(environment, options)


def test_one_node_may_have_any_heap() -> None:
    assert es.settings(SINGLE | {"ES_JAVA_OPTS": "-Xms128m -Xmx256m"}, []) == SINGLE


def test_a_folder_that_it_may_not_write_to_stops_it(tmp_path: Path) -> None:
    with pytest.raises(es.SettingsError, match="failed to obtain node locks"):
        es.Node(tmp_path / "not" / "there")


def test_the_entry_point_hands_on_names_with_a_dot() -> None:
    script = Path(es.__file__).with_name("docker-entrypoint.sh")
    environment = SINGLE | {"PATH": os.environ["PATH"]}
    done = subprocess.run([script, "env"], env=environment, capture_output=True, text=True, check=True)
    assert "discovery.type=single-node" in done.stdout.splitlines()


# --- API


def test_it_says_what_it_is(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.json()["version"]["number"] == "7.17.27"
    assert answer.headers["X-elastic-product"] == "Elasticsearch"
    assert client.get("/_cluster/health").json()["status"] == "green"


def test_an_index_is_made_once_from_its_templates(client: httpx.Client) -> None:
    template = {"index_patterns": ["visits*"], "mappings": {"dynamic": "false"}}
    assert client.put("/_template/visits", json=template).json() == {"acknowledged": True}
    assert client.head("/visits-1").status_code == 404
    assert (
        client.put("/visits-1", json={"settings": {"index": {"number_of_replicas": "0"}}}).status_code == 200
    )
    again = client.put("/visits-1")
    assert (again.status_code, again.json()["error"]["type"]) == (400, "resource_already_exists_exception")
    assert client.get("/visits-1").json()["visits-1"] == {
        "mappings": {"dynamic": "false"},
        "settings": {"index": {"number_of_replicas": "0"}},
    }
    assert client.get("/_cluster/health").json()["status"] == "yellow"
    assert client.delete("/visits-*").status_code == 200
    missing = client.get("/visits-1")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "index_not_found_exception")


def test_documents_are_put_found_and_deleted(client: httpx.Client) -> None:
    for number, (status, weight) in enumerate([("Running", 3), ("Failed", 1), ("Running", 2)]):
        body = {"ExecutionStatus": status, "weight": weight}
        answer = client.put(f"/visits/_doc/{number}", json=body)
        assert (answer.status_code, answer.json()["result"]) == (201, "created")
    assert (
        client.put("/visits/_doc/1", json={"ExecutionStatus": "Running", "weight": 9}).json()["_version"] == 2
    )
    assert client.put("/visits/_create/1", json={}).status_code == 409
    query = {
        "query": {
            "bool": {"filter": [{"term": {"ExecutionStatus": "Running"}}, {"range": {"weight": {"gte": 3}}}]}
        },
        "sort": [{"weight": "desc"}],
    }
    found = client.post("/visits/_search", json=query).json()["hits"]
    assert [hit["_id"] for hit in found["hits"]] == ["1", "0"]
    assert client.get("/visits/_count").json()["count"] == 3
    assert client.delete("/visits/_doc/1").json()["result"] == "deleted"
    assert client.get("/visits/_doc/1").json()["found"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("POST", "/visits/_search", {"query": {"fuzzy": {"a": "b"}}}, "parsing_exception"),
        ("POST", "/visits/_search", {"size": 10_001}, "illegal_argument_exception"),
        ("PUT", "/Visits", {}, "invalid_index_name_exception"),
        ("PUT", "/_template/x", {}, "action_request_validation_exception"),
        ("POST", "/_flush_all", {}, "illegal_argument_exception"),
    ],
)
def test_what_the_real_one_refuses(
    client: httpx.Client, method: str, path: str, body: object, kind: str
) -> None:
    client.put("/visits/_doc/1", json={"a": "b"})
    answer = client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, kind)


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    for count in (1, 2):
        with serving(es.application(es.Api(es.Node(tmp_path), SINGLE))) as client:
            client.post("/visits/_doc", json={"n": count})
            assert client.get("/visits/_count").json()["count"] == count


def test_with_security_a_stranger_is_refused(tmp_path: Path) -> None:
    api = es.Api(es.Node(tmp_path), SINGLE | {"xpack.security.enabled": "true"}, "secret")
    with serving(es.application(api)) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", auth=("elastic", "secret")).status_code == 200


# --- the vendor's own client, which refuses a server that is not Elasticsearch


@pytest.fixture
def vendors(client: httpx.Client) -> Iterator[Elasticsearch]:
    with Elasticsearch(str(client.base_url)) as found:
        yield found


def test_the_vendor_s_client_understands_it(vendors: Elasticsearch) -> None:
    assert vendors.info()["version"]["number"] == es.VERSION and vendors.ping()
    assert vendors.cluster.health()["status"] == "green"
    indices = vendors.indices
    assert not indices.exists_template(name="visits")
    body = {"index_patterns": ["visits*"], "mappings": {"dynamic": "false"}}
    assert indices.put_template(name="visits", body=body)["acknowledged"]
    assert indices.exists_template(name="visits")
    assert not indices.exists(index="visits-1")
    assert indices.create(index="visits-1")["index"] == "visits-1"
    assert indices.exists(index="visits-1")
    assert indices.get_mapping(index="visits-1") == {"visits-1": {"mappings": {"dynamic": "false"}}}

    made = vendors.index(index="visits-1", id="1", document={"status": "Running"}, refresh=True)
    assert (made["result"], made["_version"], made["_seq_no"]) == ("created", 1, 0)
    assert vendors.get_source(index="visits-1", id="1") == {"status": "Running"}
    assert vendors.exists(index="visits-1", id="1") and not vendors.exists(index="visits-1", id="2")
    found = vendors.search(index="visits-*", query={"term": {"status": "Running"}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]
    assert (found["_shards"]["failed"], vendors.count(index="visits-1")["count"]) == (0, 1)
    gone = vendors.delete(index="visits-1", id="1")
    assert (gone["result"], gone["_version"]) == ("deleted", 2)
    assert indices.delete(index="visits-1")["acknowledged"]


def test_the_vendor_s_client_names_its_refusals(vendors: Elasticsearch) -> None:
    vendors.create(index="visits", id="1", document={})
    with pytest.raises(ConflictError, match="version_conflict_engine_exception"):
        vendors.create(index="visits", id="1", document={})
    with pytest.raises(NotFoundError, match="index_not_found_exception"):
        vendors.search(index="another")
    with pytest.raises(NotFoundError):
        vendors.delete(index="visits", id="2")
    with pytest.raises(RequestError, match="resource_already_exists_exception"):
        vendors.indices.create(index="visits")
