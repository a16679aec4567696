"""Scaffolding of a project's containers: every wire that the server lays to them is used, nothing more.

The owner replaces it by his code, container by container; docs/scaffold.md says how.
"""
