"""ClickHouse in a small container: what it may take, and that what it writes about itself ends."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.clickhouse import LIMITS, limits_xml
from blueprint.compose import stack
from tests.unit.declared import declared

MIB = 1024**2


@pytest.fixture
def limits() -> ElementTree.Element:
    return ElementTree.fromstring(limits_xml(512))  # noqa: S314 - ours


def test_the_server_stays_below_its_container(limits: ElementTree.Element) -> None:
    sizes = {
        element.tag: int(element.text or 0) / MIB
        for element in limits
        if element.tag.endswith(("_usage", "_size"))
    }
    assert sizes.pop("max_server_memory_usage") == 438
    assert sizes == {"mark_cache_size": 32, "index_mark_cache_size": 32, "uncompressed_cache_size": 32}


def test_every_log_of_its_own_is_off_or_ends(limits: ElementTree.Element) -> None:
    logs = [element for element in limits if element.tag.endswith("_log")]
    kept = {log.tag: log.findtext("ttl") for log in logs if log.get("remove") is None}
    assert kept == dict.fromkeys(("error_log", "part_log", "query_log"), "event_date + INTERVAL 7 DAY DELETE")
    dropped = {log.tag for log in logs if log.get("remove") == "1"}
    # By default these grow fastest.
    assert {
        "trace_log",
        "text_log",
        "metric_log",
        "asynchronous_metric_log",
        "processors_profile_log",
    } <= dropped


def test_the_container_has_the_file(tmp_path: Path) -> None:
    blueprint = declared()
    made = stack(Applied(blueprint, {"hardware", "litellm"}), Secrets.open("lab", tmp_path, {}), "langfuse")
    file = made.contents[f"/opt/sourcefast/langfuse/{LIMITS}"]
    assert (file.owner, file.mode) == ("101", "0600")
    mounted = made.project["services"]["clickhouse"]["volumes"][-1]
    assert mounted["source"] == file.path
    assert mounted["target"] == "/etc/clickhouse-server/config.d/limits.xml"


def test_the_owner_learns_what_langfuse_recommends() -> None:
    (sentence,) = [one for one in declared().warnings() if "makers" in one]
    assert sentence.endswith(
        "clickhouse 512 of 8192, minio 128 of 4096, langfuse-web 512 of 4096, langfuse-worker 384 of 4096"
    )
