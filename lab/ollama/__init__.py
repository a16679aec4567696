"""A stand-in for Ollama: the server, its release archive, and the registry from which it pulls models."""
