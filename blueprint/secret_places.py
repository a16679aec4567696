"""Places on a host of the secrets that cannot be generated again, and problems where this machine has other values."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from blueprint import backup
from blueprint.host import Blueprint
from blueprint.model import GeneratedSecret
from blueprint.phases import LITELLM, MONITORING
from blueprint.problems import Violation
from blueprint.secrets import Secrets
from blueprint.stacks import environment_file, environment_path

# Uptime Kuma keeps a hash of it, so no file of the host has it.
_KUMA_SECRET = "uptime_kuma/password"  # noqa: S105 - a name
_RESTIC_SECRET = "restic/password"  # noqa: S105 - a name


@dataclass(frozen=True)
class Place:
    """The place of a secret on a host.

    :param phase: name of the phase that writes it
    :param path: absolute path of the file; empty if no file has it
    :param variable: of an environment file; empty if the file has only the secret
    :param whole: whether it is the variable's whole value
    """

    secret: GeneratedSecret
    phase: str
    path: str = ""
    variable: str = ""
    whole: bool = True

    def rendered(self, value: str) -> str:
        """The secret in the format of its place."""
        if not self.variable:
            return value
        line = environment_file({self.variable: value}, self.secret.name)
        return line.removeprefix(f"{self.variable}=").removesuffix("\n")

    def __str__(self) -> str:
        if not self.variable:
            return self.path
        return (
            f"{self.variable} in {self.path}" if self.whole else f"a part of {self.variable} in {self.path}"
        )


def places(blueprint: Blueprint) -> list[Place]:
    """The place of each used secret that cannot be generated again."""
    found = dict[str, Place]()
    forms = {form.name: form for form in blueprint.secret_formats if form.rotation_blocked_by}
    for stack in blueprint.stacks:
        for service in stack.services:
            path = environment_path(blueprint.paths.stacks, stack, service)
            for variable, text in service.generated_secrets.items():
                for name in service.secrets_used & forms.keys():
                    whole = text == name
                    if whole or f"{{{name}}}" in text:
                        place = Place(forms[name], stack.phase, path, variable, whole)
                        if name not in found or (whole and not found[name].whole):
                            found[name] = place
    if blueprint.backups.restic and _RESTIC_SECRET in forms:
        path = f"{blueprint.paths.config}/{backup.RESTIC_PASSWORD}"
        found[_RESTIC_SECRET] = Place(forms[_RESTIC_SECRET], LITELLM, path)
    if _KUMA_SECRET in forms:
        found[_KUMA_SECRET] = Place(forms[_KUMA_SECRET], MONITORING)
    return [found[name] for name in forms if name in found]


def problems(
    places: Collection[Place],
    written: Mapping[tuple[str, str], str],
    secrets: Secrets,
    applied: Collection[str],
) -> Iterator[Violation]:
    """Secrets that the host has, and this machine does not have or has with another value.

    A secret that neither has belongs to a new container, unless this machine has none of the host's secrets at all.

    :param written: sha256 of the content of each existing place of the host, by path and variable
    :param applied: names of the phases that the host has
    """
    known = [place for place in places if place.phase in applied]
    all_lost = bool(known) and not any(secrets.has(place.secret.name) for place in known)
    for place in places:
        form, found = place.secret, written.get((place.path, place.variable))
        expected = f"the one that the host has ({form.rotation_blocked_by})"
        if not secrets.has(form.name):
            if found is not None:
                how = f"take {place} on the host, and {secrets.how_to_write(form.name)}"
            elif place.phase in applied and (all_lost or not place.path):
                how = f"{form.reset}, and {secrets.how_to_write(form.name)}" if form.reset else ""
            else:
                continue
            remedy = "bring the file from where the last run was" + (f"; or {how}" if how else "")
            yield Violation(secrets.file, form.name, "missing", expected, remedy)
        elif found is not None and place.whole and not form.reset:
            value = place.rendered(secrets.provided(form.name))
            if hashlib.sha256(value.encode()).hexdigest() != found:
                remedy = f"take {place} on the host, and {secrets.how_to_write(form.name)}"
                yield Violation(secrets.file, form.name, "another than the host has", expected, remedy)
