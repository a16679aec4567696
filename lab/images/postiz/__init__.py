"""The lab's stand-in for Postiz."""
