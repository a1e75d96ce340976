"""
Configuration: what an operator wrote, as frozen typed values, or everything that is wrong with it.

A package declares its options in ``options.py``, as fields of a `Section`. A `Program` lists its sections, and
`load` reads them once, when the program starts.
"""

from glance_tx.settings.declare import Section, option
from glance_tx.settings.errors import Problem, SettingsError
from glance_tx.settings.load import Conflict, Loaded, Program, Settings, load
from glance_tx.settings.stock import StockOption

__all__ = [
    "Conflict",
    "Loaded",
    "Problem",
    "Program",
    "Section",
    "Settings",
    "SettingsError",
    "StockOption",
    "load",
    "option",
]
