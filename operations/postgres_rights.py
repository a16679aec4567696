"""Undeclared rights in a Postgres.

What is declared is repaired (operations/postgres.py). What nobody declared is not ours to delete: it is named, as a
problem where it reaches beyond what its holder owns, otherwise in a sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from facts.postgres import MAINTENANCE, ClusterState, RoleState
from operations.postgres_difference import SUPERUSER
from specs.postgres import OwnedDatabase
from specs.problems import Problem

# Of what Postgres makes itself: https://www.postgresql.org/docs/current/predefined-roles.html
_BUILT_IN = {"pg_monitor": {"pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"}}
_MIGHTY = ("superuser", "createrole", "createdb", "replication", "bypassrls")
# What our own copy of a database leaves in it (files/migration/postgres-copy.sh).
_OURS = "migration."


def _powers_of(role: RoleState) -> list[str]:
    member_of = role.member_of - _BUILT_IN.get(role.name, set())
    return [
        *(attribute for attribute in _MIGHTY if attribute in role.attributes),
        *(f"member of {other}" for other in sorted(member_of)),
    ]


def right_problems(
    container: str,
    databases: Sequence[OwnedDatabase],
    roles: Collection[str],
    administrators: Collection[str],
    cluster: ClusterState,
) -> Iterator[Problem]:
    """A problem for each role with undeclared rights beyond its own database.

    :param container: in which the server runs
    :param databases: all that are declared for this host, with their owners, deployed or not
    :param roles: names of declared roles that own none
    :param administrators: roles that a person made, and that may have whatever rights they have
    """
    known = {SUPERUSER, *roles, *administrators, *(database.owner.name for database in databases)}
    yours = "if it is yours, name it in `postgres.administrators`"
    for name, role in sorted(cluster.roles.items()):
        if name not in known and (powers := _powers_of(role)):
            remedy = (
                f'REVOKE … FROM "{name}"'
                if name.startswith("pg_")
                else f'DROP OWNED BY "{name}" in each database, then DROP ROLE "{name}"; {yours}'
            )
            yield Problem(
                f"role {name} of {container}", ", ".join(powers), "no rights that nobody declared", remedy
            )
    for grantee, privilege in cluster.parameters:
        if grantee not in administrators:
            yield Problem(
                f"role {grantee} of {container}",
                privilege,
                "no such grant",
                f'REVOKE {privilege} FROM "{grantee}"',
            )
    for kind, names, remedy in (
        ("subscription", cluster.subscriptions, "DROP SUBSCRIPTION, in its database"),
        ("replication slot", cluster.slots, "SELECT pg_drop_replication_slot('…')"),
    ):
        for name in sorted(names):
            yield Problem(f"{kind} {name} of {container}", "there", "none: nothing is replicated", remedy)
    extensions = {database.name: database.extensions for database in databases}
    for name, database in sorted(cluster.databases.items()):
        # One that is declared no longer had its own declared, too.
        strange = database.untrusted - set(extensions[name]) if name in extensions else ()
        for extension in sorted(strange):
            yield Problem(
                f"database {name} of {container}",
                f"extension {extension}, which reaches beyond it",
                "only extensions that are declared, or that an owner may install himself",
                f"DROP EXTENSION {extension}, in it; or declare it among its `extensions`",
            )
        for power in database.powers:
            yield Problem(
                f"database {name} of {container}",
                power,
                "nothing that reaches beyond it",
                "drop or revoke it, in that database, as the superuser: docker exec -it "
                f"{container} psql --username={SUPERUSER} '{name}'",
            )


def stray_sentences(
    container: str,
    databases: Sequence[OwnedDatabase],
    roles: Collection[str],
    administrators: Collection[str],
    cluster: ClusterState,
) -> Iterator[str]:
    """A sentence for each kind of harmless undeclared object: databases, which are backed up, roles and settings.

    Arguments as of `right_problems`.
    """
    declared = {database.name: database for database in databases}
    owners = {database.owner.name for database in databases}
    if names := sorted(cluster.databases.keys() - declared.keys() - set(MAINTENANCE)):
        yield (
            f"databases of {container} that are not declared: {', '.join(names)}; no owner, no place in the budget; "
            "declare them, or dump and drop them by hand"
        )
    known = {SUPERUSER, *roles, *administrators, *owners}
    if names := sorted(
        name
        for name, role in cluster.roles.items()
        if name not in known and not name.startswith("pg_") and not _powers_of(role)
    ):
        yield f"roles of {container} that are not declared: {', '.join(names)}; DROP ROLE takes them away"
    for name, database in sorted(cluster.databases.items()):
        if name in declared and database.owners:
            yield (
                f"database {name} of {container}: found tables, schemas or functions of "
                f"{', '.join(sorted(database.owners))}, which its owner cannot change; "
                f"ALTER … OWNER TO {database.owner} gives them to it"
            )
    for override in cluster.overrides:
        whose = [
            *([f"role {override.role}"] if override.role else []),
            *([f"database {override.database}"] if override.database else []),
        ]
        ours = {override.role} & {SUPERUSER, *roles} or {override.database} & set(MAINTENANCE)
        if whose and not ours and not override.setting.startswith(_OURS):
            yield (
                f"{' in '.join(whose)} of {container} has its own {override.setting}: that is its owner's matter, "
                "and no session of ours takes it; ALTER … RESET takes it away"
            )
    if cluster.tablespaces:
        yield f"tablespaces of {container} that nothing declares: {', '.join(sorted(cluster.tablespaces))}"
