"""Lists the steps of a plan (`pyinfra --json --dry`) that would change something; fails if there are any."""

import json
import sys
from pathlib import Path

plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["plan"]
changes = [step["name"] for step in plan if step["hosts_with_change"]]
sys.stdout.write("".join(f"- {name}\n" for name in changes) or "No step would change anything.\n")
sys.exit(1 if changes else 0)
