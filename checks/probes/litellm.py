"""Models and routing of the LiteLLM proxy in the container where this runs; free of charge, and without a secret.

Argument: JSON, the proxy's port. The master key is the container's own.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Any

KEPT = (
    "num_retries",
    "allowed_fails",
    "cooldown_time",
    "retry_after",
    "routing_strategy",
    "fallbacks",
    "model_group_alias",
)


def get(port: int, path: str) -> Any:
    """Answer of the proxy to its administrator."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        headers={"Authorization": f"Bearer {os.environ['LITELLM_MASTER_KEY']}"},
    )
    # Directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)


def main(port: int) -> None:
    """Print everything."""
    models = get(port, "/v1/model/info")["data"]
    settings = get(port, "/get/config/callbacks")["router_settings"]
    parameters = ("model", "api_base", "rpm", "tpm", "timeout")
    json.dump(
        {
            "models": {
                model["model_name"]: {
                    key: model["litellm_params"][key]
                    for key in parameters
                    if model["litellm_params"].get(key) is not None
                }
                for model in models
            },
            "router": {key: settings[key] for key in KEPT if key in settings},
        },
        sys.stdout,
    )


main(json.loads(sys.argv[1]))
