"""The checklist of requirements 12, and what proves each of its lines: `make checklist`.

A test that proves a line is marked `@pytest.mark.checklist("0.5")`. A line without a test is a person's work or the
owner's code, with the reason.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("checks", "tests")  # those of checks/ run in the lab, too
PAGE = ROOT / "docs" / "checklist.md"

HUMAN, OWNERS_CODE = "human", "owner's code"


@dataclass(frozen=True)
class Line:
    """A line of the checklist.

    :param id: its phase and number, "0.5"; F for the files, V for the final verification
    :param text: as the owner wrote it
    :param kind: HUMAN or OWNERS_CODE where no test proves it
    :param reason: why no test can
    :param note: what is built where it differs from the line
    """

    id: str
    text: str
    kind: str = ""
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the checklist, under the owner's heading."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Proof:
    """A test that proves lines.

    :param file: relative to the project
    :param name: of the function, or of the class whose tests they are
    """

    file: str
    name: str
    lines: tuple[str, ...]


def _section(title: str, key: str, *lines: Line | str) -> Section:
    """A section with numbered lines: a text alone is a line that a test proves."""
    made = []
    for number, line in enumerate(lines, start=1):
        numbered = Line("", line) if isinstance(line, str) else line
        made.append(replace(numbered, id=f"{key}.{number}"))
    return Section(title, tuple(made))


def _human(text: str, reason: str) -> Line:
    return Line("", text, HUMAN, reason)


def _owners(text: str, reason: str) -> Line:
    return Line("", text, OWNERS_CODE, reason)


def _but(text: str, note: str) -> Line:
    return Line("", text, note=note)


CHECKLIST = (
    _section(
        "Phase 0 — Hardware Upgrade",
        "0",
        _human(
            "Acheter i7-9700K (~90 EUR occasion) + DDR4 16 Go (~30 EUR)",
            "a purchase",
        ),
        "Backup complet (`/opt/scripts/backup-databases.sh` + backup ClickHouse)",
        "Arreter tous les services (`docker stop $(docker ps -q)`)",
        _human("Installer CPU + RAM", "done with a screwdriver; the run that prepares it says when"),
        "Boot -> verifier 28 Go RAM (`free -h`) + 8 cores (`nproc`)",
        "Reconfigurer zram : `PERCENT=50` -> 14 Go effectifs",
        "Mettre a jour Ollama `NUM_PARALLEL` (heavy: 6, light: 12)",
        "Redemarrer tous services + warmup Ollama",
    ),
    _section(
        "Phase 1 — LiteLLM Proxy",
        "1",
        _but("Creer `deploy/litellm/litellm-config.yaml` (section 3.3)", "rendered from `gateway`"),
        _but("Creer `deploy/litellm/docker-compose.coolify.yml`", "rendered from the service"),
        "`CREATE DATABASE litellm` + user sur shared-postgres",
        _but(
            "Deployer sur Coolify (standalone docker-compose)",
            "a Compose project of our own on Coolify's network",
        ),
        "Creer 4 teams + 4 virtual keys (curl commands)",
        "Configurer Traefik : `litellm.augmenter.pro`",
        "Tester routing : health, models, fallback, Langfuse traces",
    ),
    _section(
        "Phase 2 — Migrer augmenter.PRO",
        "2",
        "Migrer PostgreSQL : dump augmenter-db -> shared-postgres (3 DBs: augmenter, nango, postiz)",
        "Migrer Redis : BullMQ queues auto-reconstruit, pas de migration necessaire",
        "Supprimer services dupliques du compose (augmenter-db, augmenter-redis, langfuse, flower, etc.)",
        "Fix `${VAR:?msg}` -> `${VAR}` dans docker-compose.coolify.yml (Coolify cree des env vars parasites)",
        "Fix Nango migration locks (copier `_nango_auth_migrations` + nettoyer lock table)",
        "Verifier : dashboard OK, 3 users, 126 widgets, 59 tables",
        "Reconfigurer Ollama V3 : 5 instances independantes (heavy, light, vision, reasoning, twitch)",
        "Mettre a jour LiteLLM config : ajout `qwen2.5vl-vision` + `deepseek-reasoning`",
        "Env var `LITELLM_API_KEY` vide",
        _but(
            "Nettoyer env vars parasites dans Coolify UI + orphan containers",
            "a run names orphans and removes them on request; the variables in Coolify are deleted there by hand",
        ),
    ),
    _section(
        "Phase 3 — PgBouncer + Monitoring",
        "3",
        "Deployer PgBouncer 1.21+ (section 5.3)",
        _but(
            "Deployer Bull Board (option B : integre dans augmenter backend, route `/admin/queues`)",
            "the container that requirements 2.1 counts; option B is in the owner's backend",
        ),
        "Deployer Uptime Kuma + configurer healthchecks",
        "Configurer alertes Telegram",
    ),
    _section(
        "Phase 4 — Provisionner renov-bati",
        "4",
        "Creer database `renov_bati` + extensions PostGIS + pgvector",
        _but(
            "Scaffolder le projet NestJS (backend + frontend + 3 workers)",
            "files/scaffold, small programs that try every connection; the NestJS project is the owner's",
        ),
        "Redis DB index 5 + 9",
        "LiteLLM virtual key `sk-renov-bati`",
        "Docker-compose + Coolify app",
        _owners(
            "Commencer Module A (ETL ADEME/DVF) + Module C (crawler)",
            "the workers' tasks are the application's; a test tries that they run and reach everything",
        ),
    ),
    _section(
        "Phase 5 — Provisionner coach-credit",
        "5",
        "Creer database `coach_credit`",
        _but(
            "Scaffolder le projet NestJS",
            "files/scaffold, small programs that try every connection; the NestJS project is the owner's",
        ),
        "Redis DB index 6",
        "LiteLLM virtual key `sk-coach-credit`",
        "Docker-compose + Coolify app",
    ),
    _section(
        "Phase 6 — Deployer voicejury",
        "6",
        "Verifier RAM disponible (necessaire: ~1.8 Go supplementaires)",
        _but(
            "Creer tables dans voicejury_db (sessions, word_timestamps_cache, lyrics_cache, search_history)",
            "the three of requirements 5.2: sessions and search history are in Redis",
        ),
        "Configurer env vars dans Coolify (section 7.7)",
        _but(
            "Deployer docker-compose voicejury (api, frontend, worker-heavy, worker-pool)",
            "api and worker-heavy as requirements 7.1 has them; worker-pool is optional, the frontend elsewhere",
        ),
        _but(
            "Tester pipeline complet (upload audio -> analyse -> jury LLM -> resultats)",
            "every tier that the pipeline calls is tried; the pipeline itself is the owner's code",
        ),
        "Verifier Langfuse traces + Flower visibility (flower-voicejury.augmenter.pro, Redis DB 2)",
        "Verifier GPU time-sharing (Ollama Light <-> Demucs)",
    ),
    _section(
        "Fichiers a Creer/Modifier",
        "F",
        "`deploy/litellm/litellm-config.yaml` — Config routing LLM",
        "`deploy/litellm/docker-compose.coolify.yml` — Container LiteLLM",
        "`deploy/pgbouncer/pgbouncer.ini` — Config connection pooler",
        "`deploy/pgbouncer/docker-compose.coolify.yml` — Container PgBouncer",
        "`deploy/uptime-kuma/docker-compose.coolify.yml` — Healthchecks",
        _owners(
            "`backend/src/common/services/llm.service.ts` — Ajouter provider `litellm`",
            "a file of augmenter.PRO; its container gets LLM_PROVIDER and what both providers need",
        ),
        _owners(
            "`backend/src/config/llm.config.ts` — Ajouter `litellm.url`, `litellm.apiKey`",
            "a file of augmenter.PRO; both are in its environment",
        ),
        _owners(
            "`worker/crewai_app.py` — Pointer vers LiteLLM au lieu d'Ollama direct",
            "a file of augmenter.PRO; the address and the key are in its environment",
        ),
        _owners(
            "`worker/tasks/curation_scoring/scoring.py` — Pointer vers LiteLLM",
            "a file of augmenter.PRO; the address and the key are in its environment",
        ),
        "`/etc/ollama/heavy.env` — `NUM_PARALLEL=6` (post i7-9700K)",
        "`/etc/ollama/light.env` — `NUM_PARALLEL=12`",
        "`/etc/default/zramswap` — `PERCENT=50` (recalculer pour 28 Go)",
        "`docker-compose.coolify.yml` — Ajuster memory limits",
    ),
    _section(
        "Verification Finale",
        "V",
        _but(
            "`curl http://litellm:4000/health` -> healthy",
            "`/health/liveliness` and `/health/readiness`: `/health` calls every model, those that cost money too",
        ),
        _but(
            "`curl http://litellm:4000/global/spend/report?group_by=team` -> couts par projet",
            "`/team/info`: the report is not in the open edition",
        ),
        "`nvidia-smi` -> 5 GPUs, 0 conflit",
        "`free -h` -> 12 Go (actuel) ou 28 Go (post-upgrade)",
        "`nproc` -> 2 (actuel) ou 8 (post-upgrade)",
        "`df -h /` -> 95% used (CRITICAL)",
    ),
)


def lines() -> Mapping[str, Line]:
    """All lines by their id."""
    return {line.id: line for section in CHECKLIST for line in section.lines}


def proofs(root: Path = ROOT) -> Iterator[Proof]:
    """Every test with a marker, found in the source: nothing is imported, nothing runs."""
    for path in (path for folder in FOLDERS for path in sorted((root / folder).rglob("test_*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        file = str(path.relative_to(root))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                ids = [name for decorator in node.decorator_list for name in _marked(decorator)]
                if ids:
                    yield Proof(file, node.name, tuple(ids))


def _marked(decorator: ast.expr) -> list[str]:
    """Ids in `@pytest.mark.checklist("0.5", "0.6")`."""
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.checklist":
        return []
    return [str(ast.literal_eval(argument)) for argument in decorator.args]


def problems(found: Iterable[Proof]) -> Iterator[str]:
    """Lines without a test, and markers of no line."""
    known = lines()
    proved: set[str] = set()
    for proof in found:
        for name in proof.lines:
            if name not in known:
                yield f"{proof.file}: {proof.name} proves {name!r}, which is no line of the checklist"
            elif known[name].kind:
                yield f"{proof.file}: {proof.name} proves {name}, which is {known[name].kind}"
        proved.update(proof.lines)
    for line in known.values():
        if not line.kind and line.id not in proved:
            yield f"{line.id} ({line.text}) is proved by no test, and is neither {HUMAN} nor {OWNERS_CODE}"


def page(found: Sequence[Proof]) -> str:
    """docs/checklist.md."""
    text = [
        "# The checklist of the requirements, line by line",
        "",
        "Written by `make checklist` from the markers of the tests (`tests/checklist.py` has the lines); do not edit.",
        "Tests prove each line of requirements 12, or it says whose work it is and why.",
    ]
    for section in CHECKLIST:
        text += ["", f"## {section.title}", "", "| | line | proved by |", "|---|---|---|"]
        text += [
            f"| {line.id} | {_cell(line.text)} | {_cell(_proof(line, found))} |" for line in section.lines
        ]
    return "\n".join(text) + "\n"


def _proof(line: Line, found: Sequence[Proof]) -> str:
    if line.kind:
        return f"*{line.kind}*: {line.reason}"
    tests = [proof for proof in found if line.id in proof.lines]
    files = dict.fromkeys(proof.file for proof in tests)
    parts = [
        f"[{file.removeprefix('tests/')}](../{file}): "
        + "; ".join(_sentence(proof.name) for proof in tests if proof.file == file)
        for file in files
    ]
    if line.note:
        parts.append(f"*built*: {line.note}")
    return "<br>".join(parts)


def _sentence(name: str) -> str:
    """A test's name in words: `test_it_works` and `TestRestoring`."""
    if name.startswith("Test"):
        return re.sub(r"(?<=.)(?=[A-Z])", " ", name.removeprefix("Test")).lower()
    return name.removeprefix("test_").replace("_", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page; report what is missing."""
    found = list(proofs())
    PAGE.write_text(page(found), encoding="utf-8")
    wrong = list(problems(found))
    for problem in wrong:
        sys.stderr.write(f"{problem}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
