"""What every declaration shares: it refuses nonsense when it is made, and can be shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import InitErrorDetails

from blueprint.problems import DeclarationError
from blueprint.validation import problems_of, shown, unexpected

_CONFIG = ConfigDict(strict=True, extra="forbid")
# Fields that identify a declaration in messages.
_IDENTITIES = ("name", "uuid", "index", "container", "table", "id")
# Whether somebody takes an error, in place of its being raised.
_take: ContextVar[Callable[[Exception], bool]] = ContextVar("take", default=lambda error: False)


@contextmanager
def reading_on(take: Callable[[Exception], bool]) -> Iterator[None]:
    """Leave a declaration that is refused incomplete, so that what follows it is checked too.

    :param take: gets the `DeclarationError`, or the AttributeError of a declaration with an incomplete one in it;
        answers whether to read on
    """
    token = _take.set(take)
    try:
        yield
    finally:
        _take.reset(token)


class Declaration:
    """Base of all declarations."""

    _refused: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """How `pyinfra inventory.py debug-inventory` shows it."""
        return dict(dataclasses.asdict(self))  # type: ignore[call-overload]  # each subclass is a dataclass


class Conflict(NamedTuple):
    """Values of one declaration that do not go together.

    :param key: the field that is blamed, or a part of one
    :param expected: what it should say, in view of the others
    :param found: what it says, where that is not the value of the field
    :param remedy: what to do, where `expected` does not say it
    """

    key: str
    expected: str
    found: str = ""
    remedy: str = ""


Kind = TypeVar("Kind", bound=type[Declaration])
Made = TypeVar("Made", bound=Declaration)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def declaration(*, kw_only: bool = True) -> Callable[[Kind], Kind]:
    """A frozen dataclass of pydantic's that says everything that is wrong with it in one `DeclarationError`."""

    def decorate(kind: Kind) -> Kind:
        made: Any = dataclass(kind, frozen=True, kw_only=kw_only, config=_CONFIG)
        validate = made.__init__
        positional = [field.name for field in dataclasses.fields(made) if not field.kw_only]

        def init(self: Declaration, *args: object, **fields: object) -> None:
            named = dict(zip(positional, args, strict=False))
            if len(args) > len(named) or named.keys() & fields.keys():
                except_for = f", except for {', '.join(positional)}" if positional else ""
                raise TypeError(f"{kind.__name__} takes each field once and by its name{except_for}")
            try:
                validate(self, **named, **fields)
            except (ValidationError, AttributeError) as error:
                refused: Exception = error
                if isinstance(error, ValidationError):
                    prefix = f"{_called(kind, named | fields)}."
                    refused = DeclarationError(problems_of(error, of=made, prefix=prefix))
                if not _take.get()(refused):
                    raise refused from None
                object.__setattr__(self, "_refused", True)

        made.__init__ = init
        return cast(Kind, made)

    return decorate


def conflicts(method: Callable[[Made], Iterator[Conflict]]) -> Any:
    """A validator of fields that are sound by themselves: it refuses every conflict that `method` yields."""

    def check(self: Made) -> Made:
        if self._refused:  # pydantic asks again for each declaration that it is in
            return self
        errors: list[InitErrorDetails] = [
            {
                "type": unexpected(conflict.expected, conflict.remedy, found=conflict.found),
                "loc": (conflict.key,),
                "input": getattr(self, conflict.key, None),
            }
            for conflict in method(self)
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self

    return model_validator(mode="after")(check)


def _called(kind: type[Declaration], fields: Mapping[str, object]) -> str:
    """How a declaration is called in messages: "OllamaInstance heavy"."""
    known = (shown(fields[key]).strip("'") for key in _IDENTITIES if key in fields)
    return f"{kind.__name__} {next(known, '')}".strip()
