"""The lab's stand-in for nango-server."""
