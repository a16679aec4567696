"""As group_data/gpu.py, which documents the keys; for the unit tests."""

from blueprint.model import AptRepository, Gpu, OllamaInstance, OllamaModel, Whisper

gpus = [
    Gpu(bus="01:00.0", uuid="GPU-85c38fae", model="RTX 3070", vram_mib=8192),
    Gpu(bus="03:00.0", uuid="GPU-bdb1f5e4", model="RTX 3080", vram_mib=10240),
    Gpu(bus="08:00.0", uuid="GPU-d4fb9c68", model="RTX 3060 Ti", vram_mib=8192),
]

ollama_models = [
    OllamaModel(name="qwen3:8b", weights_mib=4960, layers=36, kv_heads=8, head_dim=128),
    OllamaModel(name="qwen3:4b", weights_mib=2480, layers=36, kv_heads=8, head_dim=128),
    OllamaModel(name="llama3.1:8b", weights_mib=4673, layers=32, kv_heads=8, head_dim=128),
]

ollama_instances = [
    OllamaInstance(name="heavy", gpu="GPU-bdb1f5e4", port=11434, model="qwen3:8b", max_queue=64),
    OllamaInstance(name="light", gpu="GPU-85c38fae", port=11435, model="qwen3:4b", max_queue=128),
    OllamaInstance(name="twitch", gpu="GPU-d4fb9c68", port=11437, model="llama3.1:8b", max_queue=32),
]

ollama_gpu_overhead_mib = 512

ollama_version = "0.32.7"
ollama_sha256 = "ed1e39fe8fea90bd7f4c723bd949a2cea3153e111220ec0a183ea5b8dc8b2cae"

whisper = Whisper(
    image="onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
    gpu="GPU-d4fb9c68",
    model="large-v3-turbo",
    quantization="int8",
    memory="4g",
    vram_mib=1229,
)

nvidia_driver_minimum = 550

container_toolkit_repository = AptRepository(
    name="nvidia-container-toolkit",
    uri="https://nvidia.github.io/libnvidia-container/stable/deb/amd64",
    suite="/",
    key_url="https://nvidia.github.io/libnvidia-container/gpgkey",
)

container_toolkit_key_fingerprint = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
