"""Read-only checks of a provisioned host: `pytest checks`, or the same with `--hosts=ssh://…` (docs/checks.md)."""
