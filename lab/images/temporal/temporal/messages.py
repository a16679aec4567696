"""The few protobuf messages that are exchanged, written and read by hand: fields of strings, numbers and messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE = "temporal.api.operatorservice.v1.OperatorService"
HEALTH_SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
REGISTERED = 1  # of NamespaceState

Value = int | str | bytes


def write(fields: Mapping[int, Value]) -> bytes:
    """A message of these fields, by number; a nested message is its bytes."""
    content = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            content += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            content += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(content)


def read(content: bytes) -> dict[int, int | bytes]:
    """The fields of a message by number, the last of each.

    :raises ValueError: it is cut off, or has fields of other kinds
    """
    return dict(_fields(content))


def read_map(content: bytes, number: int) -> dict[str, int]:
    """A field that is a map from strings to numbers.

    :raises ValueError: it is cut off, or has fields of other kinds
    """
    entries = [
        read(value) for found, value in _fields(content) if found == number and isinstance(value, bytes)
    ]
    return {text(entry, 1): int(entry.get(2, 0)) for entry in entries}


def write_map(number: int, content: Mapping[str, int]) -> bytes:
    """Such a field."""
    return b"".join(write({number: write({1: name, 2: value})}) for name, value in content.items())


def text(fields: Mapping[int, int | bytes], number: int) -> str:
    """A field that is a string; empty if it is not there."""
    value = fields.get(number, b"")
    return value.decode() if isinstance(value, bytes) else ""


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(content):
        tag, place = _number(content, place)
        value, place = _number(content, place)
        match tag & 7:
            case 0:
                yield tag >> 3, value
            case 2:
                if place + value > len(content):
                    raise ValueError("a field is cut off")
                yield tag >> 3, content[place : place + value]
                place += value
            case kind:
                raise ValueError(f"a field of kind {kind}")


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def _number(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content):
            raise ValueError("a number is cut off")
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
