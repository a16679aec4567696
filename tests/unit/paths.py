"""Where the unit tests find what they read."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
