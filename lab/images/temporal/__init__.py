"""The lab's stand-in for Temporal."""
