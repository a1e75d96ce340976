"""
Ports for servers that tests start.
"""

from __future__ import annotations

import socket

_claims: list[socket.socket] = []


def free_port() -> int:
    """
    Find a port of 127.0.0.1 that nobody listens on, and that no other test, in whatever process, is given meanwhile.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        # The port itself must stay free. A name in the abstract namespace is had once, and goes with its process.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0glance_tx-tests-{port}")
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port
