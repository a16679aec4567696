"""As group_data/production.py, which documents the keys; for the unit tests."""

hardware_profile = "celeron_g4930"
