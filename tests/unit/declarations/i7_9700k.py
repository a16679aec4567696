"""The machine after the upgrade (requirements 1.2 and 1.3)."""

from blueprint.model import HardwareProfile

profile = HardwareProfile(
    name="i7_9700k",
    cpu_model="i7-9700K",
    cores=8,
    ram_gib=28,
    disk_gib=229,
    ollama_parallel={"heavy": 6, "light": 12, "vision": 1, "reasoning": 2, "twitch": 2},
    zram_percent=50,
)
