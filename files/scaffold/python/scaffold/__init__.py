"""Scaffolding of a project's containers: it uses every wire that the server provides, and nothing more.

The owner replaces it by his own code, container by container; see docs/scaffold.md.
"""
