"""A deploy of its own for test_ssh.py: the settings that the variable SSH_CASE has as JSON, in a file beside ours."""

import json
import os

from operations import sshd
from operations.sshd import Setting

sshd.settings(
    name="Settings of the case",
    path="/etc/ssh/sshd_config.d/60-case.conf",
    settings=[Setting(keyword, value) for keyword, value in json.loads(os.environ["SSH_CASE"]).items()],
)
