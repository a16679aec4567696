"""The lab: what a second server would override too, and no more."""

# The machine that the lab presents itself as.
hardware_profile = "celeron_g4930"

# What the lab's upstream serves in place of the real downloads.
ollama_sha256 = "a" * 64
container_toolkit_key_fingerprint = "A" * 40

# Its containers take far less than the real ones.
allow_small_machine = True

# The lab's disk is a share of yours.
swap_gib = 1
