"""As group_data/voicejury.py, which documents the keys; for the unit tests."""

from blueprint.model import Command, Database, Http, Project, RedisIndex, Service, Team

_WORKER = "ghcr.io/pi3block/voicejury-worker:1.0.0"
_WELL = Command(("scaffold-health",), timeout_s=30, start_s=240)
_AUDIO = {"audio": "/app/audio_files"}
_MODELS = "Demucs and CREPE keep what they download below the home folder"
_GPU = "GPU-85c38fae"
_VRAM_MIB = 5120

voicejury = Project(
    name="voicejury",
    number=6,
    team=Team(name="voicejury", alias="voice-jury", key_alias="sk-voice-jury", budget_usd=10),
    databases=(Database("voicejury_db", owner="voicejury", schema="files/voicejury/schema.sql"),),
    redis=(
        RedisIndex(2, "Celery broker and sessions of voicejury"),
        RedisIndex(7, "Celery results of augmenter.PRO and voicejury", shared_with=("augmenter",)),
    ),
    broker=2,
    results=7,
    ollama="light",
    uses_whisper=True,
    ram_gib=28,
    free_mib=1843,
    env_aliases={
        "LITELLM_URL": "LITELLM_HOST",
        "LANGFUSE_HOST": "LANGFUSE_BASE_URL",
        "WHISPER_URL": "SHARED_WHISPER_URL",
    },
    env={
        "LITELLM_JURY_MODEL": "jury-comment",
        "SHARED_WHISPER_TIMEOUT": 120,
        "WHISPER_MODEL": "turbo",
        "WHISPER_LOCAL_FALLBACK": "false",
        "AUDIO_OUTPUT_DIR": "/app/audio_files",
    },
    provided_secrets={
        "GROQ_API_KEY": "groq/api_key",
        "SPOTIFY_CLIENT_ID": "spotify/client_id",
        "SPOTIFY_CLIENT_SECRET": "spotify/client_secret",
        "GENIUS_API_TOKEN": "genius/api_token",
    },
    services=(
        Service(
            name="voicejury-api",
            image="ghcr.io/pi3block/voicejury-api:1.0.0",
            memory="512m",
            aliases=("api",),
            port=8080,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="api.kiaraoke.fr",
            further_domains=("api.tuasunincroyabletalent.fr",),
            volumes=_AUDIO,
        ),
        Service(
            name="voicejury-worker-heavy",
            image=_WORKER,
            memory="6g",
            aliases=("worker-heavy",),
            health=_WELL,
            gpu=_GPU,
            vram_mib=_VRAM_MIB,
            writable=_MODELS,
            pids=1024,
            unloads_model_of="light",
            env={"CELERY_QUEUES": "gpu-heavy", "CELERY_CONCURRENCY": 1},
            volumes=_AUDIO,
            stop_s=120,
        ),
    ),
    optional=(
        Service(
            name="voicejury-worker-pool",
            image=_WORKER,
            memory="512m",
            aliases=("worker-pool",),
            health=_WELL,
            writable=_MODELS,
            env={"CELERY_QUEUES": "gpu", "CELERY_CONCURRENCY": 1},
            volumes=_AUDIO,
            stop_s=120,
        ),
    ),
)
