"""Backups of a host: written, read back, kept, tested and restored.

A *piece* is saved by itself: one database, the roles of a cluster, one Redis, one bucket, one volume. The failure of
one does not touch the others:

    ROOT/postgres/shared-postgres/litellm/20261122T030000Z/
        manifest.json      its contents as of the same snapshot, and the SHA-256 of its files
        …                  its files

A piece is written under a name that begins with a dot, read back, and only then renamed.
"""
