"""As group_data/celeron_g4930.py, which documents the keys; for the unit tests."""

from blueprint.model import HardwareProfile

profile = HardwareProfile(
    name="celeron_g4930",
    cpu_model="Celeron(R) G4930",
    cores=2,
    ram_gib=12,
    disk_gib=229,
    ollama_parallel={"heavy": 3, "light": 6, "twitch": 2},
    zram_percent=50,
)
