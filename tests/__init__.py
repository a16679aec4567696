"""The tests of the project, and its lab (`tests.lab`). They deploy, break and remove: in the lab and nowhere else."""

import os

# Whatever the shell is set to: with `export SOURCEFAST_ENV=production` in it, they would deploy to the owner's server.
os.environ["SOURCEFAST_ENV"] = "lab"
