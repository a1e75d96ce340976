"""
A worker's program: ``python -m glance_tx.workers.runner MODULE VERSION``, as its parent starts it.

``MODULE.make_worker(reactor, handover)`` makes the service.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from twisted.application.app import startApplication
from twisted.application.service import Application, IService
from twisted.logger import ILogObserver, globalLogBeginner

import glance_tx
from glance_tx.errors import FactualError
from glance_tx.workers.messages import REPORTS, pack, read_handover

__all__ = ["main"]


def main() -> None:
    """
    Serve until the parent says stop, or is gone.
    """
    module, version = sys.argv[1:]
    # See Note [Silent workers]: a worker that is aborted says what it was at.
    faulthandler.enable()
    # Ctrl-C reaches every process of a terminal; the parent is who decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if version != glance_tx.__version__:
        _give_up(f"the program was upgraded from {version} to {glance_tx.__version__}; restart the daemon")
    try:
        handover = read_handover()
    except EOFError:
        sys.exit(1)
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it

    try:
        service: IService = import_module(module).make_worker(reactor, handover)
    except FactualError as error:
        _give_up(str(error))
    application = Application(service.name)
    service.setServiceParent(application)
    globalLogBeginner.beginLoggingTo([application.getComponent(ILogObserver)], redirectStandardIO=False)
    startApplication(application, False)  # noqa: FBT003  # nothing is to be saved
    reactor.run()


def _give_up(reason: str) -> NoReturn:
    os.write(REPORTS, pack({"failed": reason}))
    sys.exit(1)


if __name__ == "__main__":
    main()
