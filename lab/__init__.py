"""The lab: a Debian machine, an internet and hardware that are simulated where they must be (README.md).

A product of its own, with its tests beside it. The project that is deployed to it does not know it.
"""

import os

# Whatever the shell is set to: with `export SOURCEFAST_ENV=production` the lab would deploy to the owner's server.
os.environ["SOURCEFAST_ENV"] = "lab"
