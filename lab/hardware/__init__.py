"""Simulated hardware of the lab's machine: five GPUs, the programs and packages around them."""
