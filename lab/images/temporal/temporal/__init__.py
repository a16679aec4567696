"""A stand-in for Temporal's auto-setup image: databases, index and namespaces for real, no workflows.

Sources: temporalio/docker-builds (auto-setup.sh, entrypoint.sh), temporalio/api (protobuf), the gRPC health protocol.
"""

VERSION = "1.24.2"
