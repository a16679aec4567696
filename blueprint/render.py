"""Templates below templates/<service>/: files of the host, and pages for people."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=select_autoescape(("html.j2",), default=False),  # all others are units and scripts
)


def render(template: str, **values: object) -> str:
    """A template with its values filled in.

    :param template: path below templates/, "ollama/ollama@.service.j2"
    :param values: all variables of the template
    :raises jinja2.UndefinedError: the template has another variable
    :raises jinja2.TemplateNotFound: there is no such template
    """
    return _environment.get_template(template).render(**values)
