"""`python -m lab.ollama.standin`: the program without its archive."""

import sys

from .cli import main

sys.exit(main())
