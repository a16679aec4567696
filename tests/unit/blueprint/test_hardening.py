"""What containers may do, as far as their declarations say it."""

from __future__ import annotations

import pytest

from tests.unit.declared import declared

SERVICES = {service.name: service for stack in declared().stacks for service in stack.services}


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if one.cap_add])
def test_capabilities_are_of_those_that_start_as_root(name: str) -> None:
    """An unprivileged program that is given one does not get it: what grants it is a privilege that is new."""
    assert SERVICES[name].root


def test_who_must_not_be_root_is_not() -> None:
    assert {name for name, one in SERVICES.items() if one.root} == {
        *("traefik", "minio", "litellm-proxy", "uptime-kuma", "nango", "postiz"),
    }


def test_nobody_has_a_path_of_the_host() -> None:
    assert {name for name, one in SERVICES.items() if one.host_paths} == set()
