"""The owner's server. Values of a single host are in production.yaml, which is ignored by git."""

# The machine as it is; the upgrade of requirements 1.2 is not confirmed. Set i7_9700k when it is done.
hardware_profile = "celeron_g4930"
