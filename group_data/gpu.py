"""The cards, and what runs on each of them (requirements 1.4 and 4).

Another model, or another card: change it here. Ports, units, environment files, firewall, warm-up, watchdog and the
VRAM budget follow. What callers name a model is its name in `gateway` (shared.py).
"""

from blueprint.model import AptRepository, Gpu, OllamaInstance, OllamaModel, Whisper

# The machine's cards in the order of their PCI bus. A prefix of the UUID is enough while no other card shares it: the
# run reads the full ones from the driver, and stops where a prefix fits none or two.
gpus = [
    Gpu(bus="01:00.0", uuid="GPU-85c38fae", model="RTX 3070", vram_mib=8192),
    Gpu(bus="03:00.0", uuid="GPU-bdb1f5e4", model="RTX 3080", vram_mib=10240),
    Gpu(bus="06:00.0", uuid="GPU-c99d136d", model="RTX 3070", vram_mib=8192),
    Gpu(bus="07:00.0", uuid="GPU-b57ff866", model="RTX 3070", vram_mib=8192),
    Gpu(bus="08:00.0", uuid="GPU-d4fb9c68", model="RTX 3060 Ti", vram_mib=8192),
]

# Size of each model: its weights as in Ollama's library (4-bit, GB converted to MiB), and the shape from which the KV
# cache is computed. A model that is new is also one of lab/ollama/registry.py, from which the lab pulls it.
ollama_models = [
    OllamaModel(name="qwen3:8b", weights_mib=4960, layers=36, kv_heads=8, head_dim=128),
    OllamaModel(name="qwen3:4b", weights_mib=2480, layers=36, kv_heads=8, head_dim=128),
    OllamaModel(name="qwen2.5vl:7b", weights_mib=5722, layers=28, kv_heads=4, head_dim=128),
    OllamaModel(name="deepseek-r1:7b", weights_mib=4482, layers=28, kv_heads=4, head_dim=128),
    OllamaModel(name="llama3.1:8b", weights_mib=4673, layers=32, kv_heads=8, head_dim=128),
]

# One card, one kind of model, always resident. The hardware profile has the number of parallel requests.
ollama_instances = [
    OllamaInstance(name="heavy", gpu="GPU-bdb1f5e4", port=11434, model="qwen3:8b", max_queue=64),
    OllamaInstance(name="light", gpu="GPU-85c38fae", port=11435, model="qwen3:4b", max_queue=128),
    OllamaInstance(name="vision", gpu="GPU-c99d136d", port=11436, model="qwen2.5vl:7b", max_queue=32),
    OllamaInstance(name="twitch", gpu="GPU-d4fb9c68", port=11437, model="llama3.1:8b", max_queue=32),
    OllamaInstance(name="reasoning", gpu="GPU-b57ff866", port=11438, model="deepseek-r1:7b", max_queue=32),
]

# VRAM that Ollama leaves alone on every card, in MiB.
ollama_gpu_overhead_mib = 512

# The installed release, and the checksum of its archive (sha256sum.txt of that release).
ollama_version = "0.32.7"
ollama_sha256 = "ed1e39fe8fea90bd7f4c723bd949a2cea3153e111220ec0a183ea5b8dc8b2cae"

# One speech recogniser for all projects, beside Ollama's twitch on the same card (requirements 4.5).
whisper = Whisper(
    image="onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
    gpu="GPU-d4fb9c68",
    model="large-v3-turbo",
    quantization="int8",
    memory="4g",
    vram_mib=1229,
)

# Oldest major version of the driver for this Ollama.
nvidia_driver_minimum = 550

# Repository of the container toolkit, which Debian lacks.
container_toolkit_repository = AptRepository(
    name="nvidia-container-toolkit",
    uri="https://nvidia.github.io/libnvidia-container/stable/deb/amd64",
    suite="/",
    key_url="https://nvidia.github.io/libnvidia-container/gpgkey",
)

# Fingerprint of the primary key that signs it.
container_toolkit_key_fingerprint = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
