"""Speech recognition for all projects: reached by name, on its card, with the declared model (requirements 4.5)."""

from __future__ import annotations

import io
import json
import wave

import httpx

from group_data.gpu import whisper
from lab.machine import Machine
from tests.host.conftest import Deploy, Forward, Outside, await_true, cards, python_in_container


def recording(seconds: float) -> bytes:
    """Silence as 16 kHz mono WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(round(seconds * 16_000) * 2))
    return file.getvalue()


ASK_BY_NAME = """
import io, json, urllib.request, wave
file = io.BytesIO()
with wave.open(file, "wb") as sound:
    sound.setnchannels(1); sound.setsampwidth(2); sound.setframerate(16000); sound.writeframes(bytes(64000))
edge = "edge"
body = (f'--{edge}\\r\\nContent-Disposition: form-data; name="audio_file"; filename="a.wav"\\r\\n\\r\\n'.encode()
        + file.getvalue() + f"\\r\\n--{edge}--\\r\\n".encode())
request = urllib.request.Request("http://shared-whisper:9000/asr?output=json", body,
                                 {"Content-Type": f"multipart/form-data; boundary={edge}"})
print(urllib.request.urlopen(request, timeout=120).read().decode())
"""


def test_a_container_has_a_recording_written_down(machine: Machine) -> None:
    done = python_in_container(machine, ASK_BY_NAME)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["segments"][0]["end"] == 2.0
    assert answer["text"]


def test_the_host_itself_reaches_it_on_its_loopback(forward: Forward) -> None:
    port = forward("127.0.0.1", whisper.port)
    files = {"audio_file": ("a.wav", recording(1.5), "audio/wav")}
    answer = httpx.post(f"http://127.0.0.1:{port}/asr?output=json", files=files, timeout=120, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["asr-engine"] == "faster_whisper"
    refused = httpx.post(f"http://127.0.0.1:{port}/asr", timeout=120, trust_env=False)
    assert refused.status_code == 422


def test_the_network_does_not_reach_its_port_on_the_host(machine: Machine, outside: Outside) -> None:
    published = machine.run("docker port shared-whisper").stdout
    assert published.strip() == f"9000/tcp -> 127.0.0.1:{whisper.port}"
    tried = outside(
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "--max-time",
        "2",
        f"http://{machine.lab.machine}:{whisper.port}/docs",
    )
    assert tried.returncode == 28, tried.stdout + tried.stderr


def test_a_crash_of_its_process_brings_it_back(machine: Machine) -> None:
    before = machine.run("docker inspect --format '{{.Id}}' shared-whisper").stdout
    machine.run("docker kill --signal KILL shared-whisper")

    def back() -> bool:
        now = machine.run("docker inspect --format '{{.Id}} {{.State.Running}}' shared-whisper", check=False)
        return now.returncode == 0 and now.stdout.endswith("true\n") and before.strip() not in now.stdout

    await_true(back, 300, "new container of shared-whisper")


def test_another_container_in_its_place_is_replaced(machine: Machine, deploy: Deploy) -> None:
    """Somebody started `medium` by hand, as in requirements 4.5: the unit is gone and the name is taken."""
    image = machine.run("docker inspect --format '{{.Config.Image}}' shared-whisper").stdout.strip()
    card = next(uuid for uuid in cards(machine) if uuid.startswith(whisper.gpu))
    machine.run("systemctl stop shared-whisper")
    machine.run(
        f"docker run -d --name shared-whisper --network coolify --gpus '\"device={card}\"' "
        "--env NVIDIA_DISABLE_REQUIRE=1 --tmpfs /usr/local/cuda/compat "
        f"--env ASR_ENGINE=faster_whisper --env ASR_MODEL=medium {image}"
    )
    done = deploy()
    assert done.rc == 0, done.output
    # Whether the run has to wait for its answer, which is a change too, depends on how fast it is.
    assert done.changed[0] == "Phase 0: hardware | shared-whisper | shared-whisper", done.changed
    assert all(" | shared-whisper | " in name for name in done.changed), done.changed
    assert machine.run("docker exec shared-whisper printenv ASR_MODEL").stdout.strip() == whisper.model
