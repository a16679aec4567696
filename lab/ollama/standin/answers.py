"""What a stand-in for a model says: predictable, and shaped as it was asked for."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def words(model: str, prompt: str, form: Any = None) -> list[str]:
    """The answer in tokens.

    :param prompt: the question, whose beginning the answer repeats
    :param form: `json`, a JSON schema, or nothing
    """
    text = f"Simulated answer of {model} to: {' '.join(prompt.split())[:200]}"
    if form == "json":
        text = json.dumps({"answer": text})
    elif isinstance(form, dict):
        text = json.dumps(example(form))
    pieces = text.split(" ")
    return [pieces[0], *(f" {piece}" for piece in pieces[1:])]


def example(schema: dict[str, Any]) -> Any:
    """A value that a JSON schema allows, as far as simple schemas go."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}))]
        case "integer":
            return schema.get("minimum", 0)
        case "number":
            return float(schema.get("minimum", 0.0))
        case "boolean":
            return True
        case _:
            return "simulated"


def tokens(text: str) -> int:
    """Roughly how many tokens a text is."""
    return max(1, len(text) // 4)


def embedding(text: str, length: int) -> list[float]:
    """A unit vector that is the same for the same text."""
    stream = hashlib.shake_256(text.encode()).digest(length)
    values = [byte / 127.5 - 1 for byte in stream]
    norm = math.sqrt(sum(value * value for value in values))
    return [round(value / norm, 9) for value in values]
