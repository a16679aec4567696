"""`scaffold-job`: put a job into a queue, wait for its result, and print it with the job's id.

Usage: scaffold-job [--queue QUEUE] [--timeout SECONDS] NAME [ARGUMENTS-AS-JSON]
"""

from __future__ import annotations

import argparse
import json
import sys

from celery.exceptions import CeleryError

from .jobs import app


def main() -> int:
    """Exit 0 with the result on standard output, or 1 with the error on standard error."""
    parser = argparse.ArgumentParser(prog="scaffold-job")
    parser.add_argument("--queue", default=app.conf.task_default_queue)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("name", nargs="?", default="scaffold.ping")
    parser.add_argument("arguments", nargs="?", type=json.loads, default={})
    options = parser.parse_args()
    try:
        result = app.send_task(options.name, kwargs=options.arguments, queue=options.queue)
        answer = {"id": result.id, "result": result.get(timeout=options.timeout)}
        sys.stdout.write(f"{json.dumps(answer)}\n")
    except (CeleryError, OSError, RuntimeError) as error:
        sys.stderr.write(f"scaffold-job: {type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
