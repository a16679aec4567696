"""The wires of voicejury's worker (requirements 7.2 to 7.6): the card, the cache, transcription and comments."""
