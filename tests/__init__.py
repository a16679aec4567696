"""The tests of the project. They deploy, break and remove: in the lab and nowhere else."""

import lab as lab  # which sets SOURCEFAST_ENV
