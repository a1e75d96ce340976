"""
What the benchmarks calculate. They are programs of the checkout, in a folder that Python does not look into by itself.
"""

import sys
from pathlib import Path

_BENCH = str(Path(__file__).parents[2] / "bench")
if _BENCH not in sys.path:
    sys.path.append(_BENCH)
