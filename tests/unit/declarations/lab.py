"""As group_data/lab.py, which documents the keys; for the unit tests."""

hardware_profile = "celeron_g4930"

ollama_sha256 = "a" * 64
container_toolkit_key_fingerprint = "A" * 40

allow_small_machine = True

swap_gib = 1
