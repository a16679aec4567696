"""The owner's server. What is true of one host only stands in production.yaml, which is ignored by git."""

# The machine as it is; the upgrade of requirements 1.2 is not confirmed. Set i7_9700k when it is done.
hardware_profile = "celeron_g4930"
