"""Brings up the lab of the checkout it is run in, without images: `python -m tests.host.second_lab`."""

from lab import network, upstream
from lab.backends import server
from lab.paths import lab

if __name__ == "__main__":
    the_lab = lab()
    the_lab.state.mkdir(mode=0o700, exist_ok=True)
    machine = server(the_lab)
    network.up(the_lab)
    upstream.start(the_lab, machine.kernel)
    machine.start()
