"""Jobs go through each project's own broker: put into a queue, done by the worker of that queue, the result kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from blueprint.model import Project, Service
from group_data.augmenter import augmenter
from group_data.renov_bati import renov_bati
from group_data.voicejury import voicejury
from lab.machine import Machine
from tests.host.conftest import await_true
from tests.projects.conftest import Job, job_of
from tests.services.datastores import Datastores

QUEUES = "CELERY_QUEUES"
WORKERS = [
    (project, service, queue)
    for project in (augmenter, renov_bati, voicejury)
    for service in project.services
    if QUEUES in service.env
    for queue in str(service.env[QUEUES]).split(",")
]
LONG = "Good morning. " * 200  # more than 2000 characters (requirements 9.3)


@pytest.mark.checklist("4.2")
@pytest.mark.parametrize(
    ("project", "worker", "queue"), WORKERS, ids=[f"{service.name}-{queue}" for _, service, queue in WORKERS]
)
def test_a_celery_job_is_done_by_the_worker_of_its_queue(
    machine: Machine, job: Job, datastores: Datastores, project: Project, worker: Service, queue: str
) -> None:
    """Put by another container of the project, so that the broker is between them."""
    value = secrets.token_hex(8)
    sender = project.services[0].name
    answer = job(sender, "--queue", queue, "scaffold.ping", f'{{"value": "{value}"}}')
    name = machine.run(f"docker inspect --format '{{{{.Config.Hostname}}}}' {worker.name}").stdout.strip()
    assert (answer["result"]["value"], answer["result"]["worker"]) == (value, name)
    assert project.results is not None
    with datastores.redis(project.redis_user, project.results) as results:
        key = f"celery-task-meta-{answer['id']}"
        assert value in str(results.get(key))
        assert 0 < results.ttl(key) <= 3600


@pytest.mark.checklist("5.2")
@pytest.mark.parametrize(("text", "model"), [("Good morning.", "llama-3.1-8b-instant"), (LONG, "qwen3")])
def test_a_bullmq_job_is_translated_by_the_model_of_its_length(job: Job, text: str, model: str) -> None:
    answer = job("coach-worker", "translation", f'{{"text": "{text}", "to": "fr"}}')
    assert answer["result"]["translation"]
    assert model in answer["result"]["model"]


def test_a_bullmq_job_that_cannot_be_done_says_why(machine: Machine) -> None:
    done = job_of(machine, "coach-worker", "translation", "{}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a job needs a text" in done.stderr


def test_a_job_waits_for_a_worker_that_is_away(
    machine: Machine, broken: Callable[..., None], datastores: Datastores
) -> None:
    """A job that is queued while no worker runs is done once one does."""
    assert renov_bati.broker is not None
    broken(containers=("renov-etl-worker",))
    late = job_of(machine, "renov-backend", "--queue", "etl", "--timeout", "3")
    assert late.returncode == 1
    assert "TimeoutError" in late.stderr
    with datastores.redis(renov_bati.redis_user, renov_bati.broker) as broker:
        assert broker.llen("etl") == 1
        machine.run("docker start renov-etl-worker")
        await_true(lambda: broker.llen("etl") == 0, 300, "the job, taken")
