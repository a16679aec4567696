"""Ollama from each project's own container: it answers questions, and no container manages or moves models."""

from __future__ import annotations

from group_data.gpu import ollama_instances
from lab.machine import Machine
from tests.services.declared import everything
from tests.services.tenants import Tenant

ATTEMPTS = """
    found = {}
    for instance in arguments["instances"]:
        url = f"http://{arguments['host']}:{instance['port']}"
        own, other = {"model": instance["model"]}, {"model": instance["other"]}
        found[instance["name"]] = {
            "pull": answer(url + "/api/pull", own)[0],
            "delete": answer(url + "/api/delete", own, method="DELETE")[0],
            "create": answer(url + "/api/create", {"model": "mine", "from": instance["model"]})[0],
            "copy": answer(url + "/api/copy", {"source": instance["model"], "destination": "mine"})[0],
            "push": answer(url + "/api/push", own)[0],
            "blob": answer(url + "/api/blobs/sha256:00", {})[0],
            "another model": answer(url + "/api/generate", other)[0],
            "num_ctx": answer(url + "/api/generate", {**own, "options": {"num_ctx": 1024}})[0],
            "num_gpu": answer(url + "/api/generate", {**own, "options": {"num_gpu": 0}})[0],
            **({} if instance["unloads"] else {
                "keep_alive": answer(url + "/api/generate", {**own, "keep_alive": 0})[0],
            }),
            "tags": answer(url + "/api/tags")[0],
            "ps": answer(url + "/api/ps")[0],
            "generate": answer(url + "/api/generate", {**own, "prompt": "a", "stream": False})[0],
            "chat": answer(url + "/v1/chat/completions", {**own, "messages": [{"role": "user", "content": "a"}]})[0],
        }
    print(json.dumps(found))
"""
ANSWERED = ("tags", "ps", "generate", "chat")


def test_no_project_manages_or_moves_a_model(machine: Machine, tenants: list[Tenant]) -> None:
    blueprint = everything().blueprint
    host = machine.run("ip -4 -o address show dev docker0 | awk '{print $4}' | cut -d/ -f1").stdout.strip()
    instances = [
        {
            "name": instance.name,
            "port": instance.port,
            "model": instance.model,
            "other": next(one.model for one in ollama_instances if one.model != instance.model),
            "unloads": blueprint.yields_gpu(instance),
        }
        for instance in ollama_instances
    ]
    tags = f"curl -fsS http://127.0.0.1:{ollama_instances[0].port}/api/tags"
    before = machine.run(tags).stdout
    for tenant in tenants:
        found = tenant.python(ATTEMPTS, host=host, instances=instances)
        assert found == {
            instance: {what: 200 if what in ANSWERED else 403 for what in answers}
            for instance, answers in found.items()
        }, tenant.project.name
    assert machine.run(tags).stdout == before
