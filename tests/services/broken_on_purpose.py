"""What is broken on purpose on the deployed server, and the checks that have to fail for it (test_checks.py)."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from blueprint import backup
from blueprint.names import KUMA, POSTGRES, REDIS
from tests.services.declared import everything

APPLIED = everything()
BLUEPRINT, PATHS = APPLIED.blueprint, APPLIED.blueprint.paths
# A project's database, team and containers, to be broken; another one's container is replaced as a whole.
DATABASE, TEAM = APPLIED.projects[0].databases[0], APPLIED.teams[0]
LIMITED, STOPPED = APPLIED.projects[0].services[0].name, APPLIED.projects[1].services[0].name
REPLACED = "bull-board"
VISION, TWITCH = BLUEPRINT.ollama_instances[2:4]
PIECE = next(
    piece for piece in backup.all_pieces(APPLIED) if piece.startswith("postgres/") and "_globals" not in piece
)
FOLDER = f"{BLUEPRINT.backups.root}/{PIECE}"


@dataclass(frozen=True)
class Breakage:
    """Something that is broken by hand.

    :param how: shell on the server
    :param fails: checks that have to fail for it, as "module::function[id]"
    :param undo: shell on the server, for what no run repairs
    """

    how: str
    fails: tuple[str, ...]
    undo: str = ""


def psql(database: str, sql: str) -> str:
    return f"docker exec -i {POSTGRES} psql -XqAt -v ON_ERROR_STOP=1 -U postgres -d {database} -c {shlex.quote(sql)}"


def redis(command: str) -> str:
    client = f"REDISCLI_AUTH=$(cat /etc/redis/admin.password) redis-cli --user admin {command}"
    return f"docker exec {REDIS} sh -c {shlex.quote(client)}"


def kuma(sql: str) -> str:
    steps = (
        'const db = new (require("@louislam/sqlite3").Database)("/app/data/kuma.db")',
        'db.configure("busyTimeout", 30000)',
        f"db.run({json.dumps(sql)}, (error) => {{ if (error) throw error; }})",
    )
    return f"docker exec --user 1000 {KUMA} node -e {shlex.quote('; '.join(steps))}"


def container(*checks: str, of: str) -> tuple[str, ...]:
    return tuple(f"test_containers::test_container_{check}[{of}]" for check in checks)


BREAKAGES = {
    # --- the system
    "a package is gone": Breakage(
        "dpkg --force-depends --remove jq", ("test_system::test_packages_are_installed",)
    ),
    "nothing is held": Breakage(
        "apt-mark unhold nvidia-driver", ("test_system::test_driver_and_toolkit_are_held",)
    ),
    "a unit has failed": Breakage(
        "systemd-run --quiet --unit=broken-on-purpose false || true",
        ("test_system::test_no_unit_has_failed",),
        "systemctl reset-failed broken-on-purpose",
    ),
    "a timer is stopped": Breakage(
        "systemctl stop apt-daily-upgrade.timer",
        ("test_system::test_units_run",),
        "systemctl start apt-daily-upgrade.timer",
    ),
    "a unit does not start at boot": Breakage(
        "systemctl disable --quiet unattended-upgrades", ("test_system::test_units_start_at_boot",)
    ),
    # --- files
    "a folder is open": Breakage(
        f"chmod 755 {PATHS.locks}", ("test_files::test_private_folders_are_root_s_alone",)
    ),
    "everybody writes a script": Breakage(
        f"chmod o+w {PATHS.scripts}/heartbeat.sh", ("test_files::test_nobody_else_writes_there[scripts]",)
    ),
    "everybody reads a secret": Breakage(
        f"chmod 644 {PATHS.config}/telegram.ini", ("test_files::test_files_with_secrets_are_private",)
    ),
    "a stray file": Breakage(
        f"touch {PATHS.stacks}/crawl4ai/old.env",
        ("test_files::test_stack_s_folder_has_its_files_only[crawl4ai]",),
        f"rm {PATHS.stacks}/crawl4ai/old.env",
    ),
    "a staging folder": Breakage(
        f"mkdir {PATHS.config}/.pyinfra-tree.test",
        ("test_files::test_no_run_left_anything_behind",),
        f"rmdir --ignore-fail-on-non-empty {PATHS.config}/.pyinfra-tree.test 2>/dev/null || true",
    ),
    "a cron job is another": Breakage(
        "echo '# no more' >>/etc/cron.d/watch", ("test_files::test_cron_runs_the_job[watch]",)
    ),
    # --- the engine and the cards
    "daemon.json is another": Breakage(
        'sed -i \'s/"live-restore": true/"live-restore": false/\' /etc/docker/daemon.json',
        ("test_docker::test_settings_are_in_the_file", "test_docker::test_engine_runs_with_the_file"),
    ),
    "Docker's rules are gone": Breakage(
        "iptables -t nat -F POSTROUTING", ("test_docker::test_engine_s_own_rules_are_there",)
    ),
    "an instance is stopped": Breakage(
        f"systemctl stop {VISION.unit}",
        (
            f"test_gpus::test_instance_has_the_release[{VISION.name}]",
            f"test_gpus::test_instance_has_its_environment[{VISION.name}]",
            f"test_gpus::test_model_is_resident_on_its_card[{VISION.name}]",
        ),
    ),
    "an instance has another environment": Breakage(
        f"mkdir -p /run/systemd/system/{TWITCH.unit}.d; "
        f"printf '[Service]\\nUnsetEnvironment=OLLAMA_NOPRUNE\\n' >/run/systemd/system/{TWITCH.unit}.d/test.conf; "
        f"systemctl daemon-reload; systemctl restart {TWITCH.unit}; systemctl restart {TWITCH.warmup_unit}",
        (f"test_gpus::test_instance_has_its_environment[{TWITCH.name}]",),
        f"rm -r /run/systemd/system/{TWITCH.unit}.d; systemctl daemon-reload; systemctl restart {TWITCH.unit}",
    ),
    # --- containers
    "a container has other limits": Breakage(
        f"docker update --memory 1g --memory-swap 2g --cpus 1.5 --restart no {LIMITED}",
        container("has_its_limits", of=LIMITED),
    ),
    "a container is on another network": Breakage(
        f"docker network connect bridge {STOPPED}",
        container("has_its_networks", of=STOPPED),
        f"docker network disconnect bridge {STOPPED}",
    ),
    "a container is stopped": Breakage(f"docker stop {STOPPED}", container("is_healthy", of=STOPPED)),
    "a container was made by hand": Breakage(
        f"image=$(docker inspect --format '{{{{.Config.Image}}}}' {REPLACED}); docker rm -f {REPLACED}; "
        f"docker tag $image by-hand; docker run -d --name {REPLACED} --network coolify -p 127.0.0.1:8098:3000 --user 0 "
        "--privileged --health-cmd true --health-interval 1s -v /etc/sourcefast:/etc/sourcefast by-hand sleep infinity",
        (
            *container(
                "has_the_pinned_image",
                "has_its_limits",
                "has_few_rights",
                "has_its_user",
                "has_its_networks",
                "publishes_its_ports_only",
                "mounts_its_data_only",
                "has_its_variables",
                "s_health_is_asked",
                "is_of_a_run",
                of=REPLACED,
            ),
        ),
        f"docker rm -f {REPLACED}; docker image rm by-hand || true",
    ),
    # --- the network
    "a forgotten program listens": Breakage(
        "systemd-run --quiet --unit=forgotten python3 -m http.server 8099",
        ("test_network::test_listening_sockets",),
        "systemctl stop forgotten",
    ),
    "another port is open, v4": Breakage(
        "systemctl stop host-firewall-repair.timer; iptables -t mangle -I HOST-INPUT -p tcp --dport 8099 -j ACCEPT",
        ("test_network::test_firewall_is_as_declared[v4]", "test_system::test_units_run"),
    ),
    "a rule before ours accepts, v6": Breakage(
        "ip6tables -t mangle -I FORWARD -j ACCEPT",
        ("test_network::test_firewall_is_as_declared[v6]",),
        "ip6tables -t mangle -D FORWARD -j ACCEPT",
    ),
    "sshd takes passwords": Breakage(
        "printf 'PasswordAuthentication yes\\n' >/etc/ssh/sshd_config.d/10-test.conf; systemctl reload ssh",
        ("test_network::test_ssh_takes_keys_only",),
        "rm /etc/ssh/sshd_config.d/10-test.conf; systemctl reload ssh",
    ),
    "a certificate is not valid": Breakage(
        "docker stop traefik",
        ("test_network::test_certificates_are_valid", *container("is_healthy", of="traefik")),
    ),
    # --- Postgres
    "a setting by ALTER SYSTEM": Breakage(
        psql("postgres", "ALTER SYSTEM SET work_mem = '64MB'")
        + "; "
        + psql("postgres", "SELECT pg_reload_conf()"),
        ("test_postgres::test_settings_are_in_force",),
    ),
    "a role has other limits": Breakage(
        psql("postgres", f"ALTER ROLE {DATABASE.role} CONNECTION LIMIT 1"),
        ("test_postgres::test_roles_have_their_limits",),
    ),
    "a role is a member": Breakage(
        psql("postgres", f"GRANT pg_read_all_data TO {DATABASE.role}"),
        ("test_postgres::test_roles_are_members_of_nothing_else",),
    ),
    "another superuser": Breakage(
        psql("postgres", "CREATE ROLE mallory SUPERUSER"),
        ("test_postgres::test_nobody_else_has_power",),
        psql(DATABASE.name, "DROP OWNED BY mallory CASCADE; DROP ROLE mallory"),
    ),
    "a table of somebody else": Breakage(
        psql(DATABASE.name, "SET ROLE mallory; CREATE TABLE of_mallory (id int)"),
        (f"test_postgres::test_database_s_objects_are_its_owner_s[{DATABASE.name}]",),
    ),
    "a function as the superuser": Breakage(
        psql(
            DATABASE.name, "CREATE FUNCTION mighty() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
        ),
        ("test_postgres::test_nothing_reaches_beyond_a_database",),
        psql(DATABASE.name, "DROP FUNCTION mighty"),
    ),
    "a database of somebody else": Breakage(
        psql("postgres", f"ALTER DATABASE {DATABASE.name} OWNER TO postgres"),
        (
            f"test_postgres::test_database_is_its_owner_s[{DATABASE.name}]",
            f"test_postgres::test_database_is_closed_to_others[{DATABASE.name}]",
        ),
    ),
    "an old extension": Breakage(
        psql(DATABASE.name, "UPDATE pg_extension SET extversion = '0' WHERE extname <> 'plpgsql'"),
        (f"test_postgres::test_database_has_its_extensions[{DATABASE.name}]",),
        psql(
            DATABASE.name,
            "UPDATE pg_extension SET extversion = default_version FROM pg_available_extensions"
            " WHERE name = extname AND extname <> 'plpgsql'",
        ),
    ),
    # --- Redis, PgBouncer, LiteLLM, Langfuse, Uptime Kuma
    "a setting of Redis": Breakage(
        redis("CONFIG SET maxmemory 1gb"), ("test_redis::test_settings_are_in_force",)
    ),
    "a user of Redis": Breakage(
        redis("ACL SETUSER mallory on nopass +@all '~*' '&*'"),
        (
            "test_redis::test_users_are_those_of_the_file",
            "test_redis::test_nobody_else_has_a_login",
            *(f"test_redis::test_index_is_its_users_alone[{one.usage}]" for one in APPLIED.redis_indexes),
        ),
    ),
    "all channels of Redis": Breakage(
        redis("ACL SETUSER litellm '&*'"), ("test_redis::test_user_subscribes_to_its_own_channels",)
    ),
    "another pool": Breakage(
        f"sed -i '/^{DATABASE.name} /s/max_db_connections=[0-9]*/max_db_connections=1/; "
        f"/^{DATABASE.name} /s/pool_size=[0-9]*/pool_size=1/' {PATHS.stacks}/pgbouncer/pgbouncer/pgbouncer.ini; "
        "docker kill --signal HUP pgbouncer",
        ("test_pgbouncer::test_pools_are_as_declared",),
    ),
    "another budget": Breakage(
        psql(
            "litellm",
            f"UPDATE \"LiteLLM_TeamTable\" SET max_budget = 0.5, spend = 9999 WHERE team_id = '{TEAM.name}'",
        ),
        (
            f"test_litellm::test_team_has_its_budget[{TEAM.name}]",
            f"test_litellm::test_team_has_credit[{TEAM.name}]",
        ),
        psql("litellm", f"UPDATE \"LiteLLM_TeamTable\" SET spend = 0 WHERE team_id = '{TEAM.name}'"),
    ),
    "another key": Breakage(
        psql(
            "litellm",
            'INSERT INTO "LiteLLM_VerificationToken" (token, team_id, key_alias) '
            f"VALUES (repeat('a', 64), '{TEAM.name}', 'by-hand')",
        ),
        (f"test_litellm::test_team_has_its_key_alone[{TEAM.name}]",),
        psql("litellm", "DELETE FROM \"LiteLLM_VerificationToken\" WHERE key_alias = 'by-hand'"),
    ),
    "an administrator of LiteLLM": Breakage(
        psql(
            "litellm",
            "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_role) VALUES ('mallory', 'proxy_admin')",
        ),
        ("test_litellm::test_nobody_else_has_rights",),
        psql("litellm", "DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'mallory'"),
    ),
    "a project of Langfuse is deleted": Breakage(
        psql("langfuse", f"UPDATE projects SET deleted_at = now() WHERE id = '{APPLIED.projects[0].name}'"),
        ("test_langfuse::test_every_project_has_its_own",),
        psql("langfuse", f"UPDATE projects SET deleted_at = NULL WHERE id = '{APPLIED.projects[0].name}'"),
    ),
    "a monitor is paused": Breakage(
        kuma("UPDATE monitor SET active = 0 WHERE name = 'crawl4ai'"),
        ("test_uptime_kuma::test_monitor_asks_what_is_declared[crawl4ai]",),
        f"docker restart {KUMA}",
    ),
    "another user of Kuma": Breakage(
        kuma("INSERT INTO user (username, password, active) VALUES ('mallory', 'x', 1)"),
        ("test_uptime_kuma::test_only_one_person_may_log_in",),
        kuma("DELETE FROM user WHERE username = 'mallory'"),
    ),
    # --- backups
    "everybody reads a backup": Breakage(
        f"chmod o+r $(find {BLUEPRINT.backups.root} -type f | head -1)",
        ("test_backups::test_backups_are_private",),
        f"chmod -R go= {BLUEPRINT.backups.root}",
    ),
    "a backup is gone": Breakage(
        f"mv {FOLDER} /root/moved",
        (f"test_backups::test_piece_has_a_young_and_good_backup[{PIECE}]",),
        f"test -d /root/moved && rm -rf {FOLDER} && mv /root/moved {FOLDER}",
    ),
    # --- at the end, as others have systemd read its files
    "a unit file changed unread": Breakage(
        "touch /etc/systemd/system/ollama-filter.service", ("test_system::test_units_run_as_on_the_disk",)
    ),
}
