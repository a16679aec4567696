"""voicejury's worker as far as it is wires (notes 7.2 to 7.6): the card, the cache, who transcribes, who comments."""
