"""Where the unit tests find what they read."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
# In the form of group_data/, and the same whatever production declares.
DECLARATIONS = Path(__file__).parent / "declarations"
