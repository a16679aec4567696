"""The lab's stand-in for Elasticsearch."""
