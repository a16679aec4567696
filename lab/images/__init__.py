"""The lab's container images: built from the folders here, pushed to the lab's registry under production's names.

Each folder has a Dockerfile and a file `reference`: one line, the name and tag that production pulls.
"""

from lab.images.pipeline import build, references

__all__ = ["build", "references"]
