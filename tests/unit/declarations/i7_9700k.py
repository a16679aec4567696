"""As group_data/i7_9700k.py, which documents the keys; for the unit tests."""

from blueprint.model import HardwareProfile

profile = HardwareProfile(
    name="i7_9700k",
    cpu_model="i7-9700K",
    cores=8,
    ram_gib=28,
    disk_gib=229,
    ollama_parallel={"heavy": 6, "light": 12, "twitch": 2},
    zram_percent=50,
)
