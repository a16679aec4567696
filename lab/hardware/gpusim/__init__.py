"""The simulated GPUs as the programs on the lab's machine see them.

Only what Debian's python3-minimal has: this package is copied to /usr/lib/gpu-sim on the machine and imported there by
`nvidia-smi`, the container runtime hook, the stand-in `ollama` and `gpu-sim`, with which tests break things.
"""
