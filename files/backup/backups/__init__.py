"""Backups of a host: made, read back, kept, tried out and restored.

What is saved is a *piece*: one database, the roles of a cluster, one Redis, one bucket, one volume. Each is complete in
itself, so that one that fails takes no other with it:

    ROOT/postgres/shared-postgres/litellm/20261122T030000Z/
        manifest.json      what is in it, taken in the same snapshot
        …                  its files, whose SHA-256 the manifest has

A piece is written under a name that begins with a dot, read back, and only then given its own.
"""
