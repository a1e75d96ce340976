"""
How the documentation is built: ``tox -e docs``, or ``sphinx-build -W -b html docs docs/_build/html``.
"""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent / "glance_tx" / "__init__.py"

project = "glance_tx"
author = "The glance_tx developers"
copyright = author  # noqa: A001  # Sphinx's name
# Read off the source, so that the package need not be installed to build its documentation.
_version = re.search(r'^__version__ = "([^"]+)"', _PACKAGE.read_text(), re.MULTILINE)
release = _version[1] if _version else ""

extensions: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
language = "en"
highlight_language = "none"

html_theme = "furo"
html_title = f"glance_tx {release}"
html_copy_source = False
