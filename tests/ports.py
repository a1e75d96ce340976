"""
Ports for servers that tests start.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_claims: list[socket.socket] = []

# Below are ports of well-known servers. From the kernel's choice for clients a port must not be: in a test a server may
# be down for a while, when a client could have its port, even one that wants to reach it and is connected to itself.
_FIRST_PORT = 10_000
_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """
    Find a port of 127.0.0.1 that nobody listens on, that the kernel gives to no client (where it leaves any), and that
    no other test, in whatever process, is given meanwhile.
    """
    first_of_clients = int(_OF_CLIENTS.read_text().split()[0])
    end = first_of_clients if first_of_clients > _FIRST_PORT else 65536
    while True:
        port = random.SystemRandom().randrange(_FIRST_PORT, end)
        # The port itself must stay free. A name in the abstract namespace is had once, and goes with its process.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0glance_tx-tests-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port
