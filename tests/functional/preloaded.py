"""
What each command of ``openstack`` finds out anew, which takes longer than all else it does: found out before the fork.
"""

from __future__ import annotations

import argparse
from importlib.metadata import entry_points

from cliff.command import Command


class _Any(Command):
    """
    A command that does nothing.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """
        Nothing.
        """


# It says which distribution it is of; cliff reads the metadata of all that are installed for it, and keeps that.
_Any(None, None).get_epilog()

# All commands there are get imported, whichever is asked for.
for point in entry_points():
    if point.group.startswith("openstack."):
        point.load()
