"""
Zeros are found, and nothing else.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.stores.holes import BLOCK_BYTES, filled_runs

B = BLOCK_BYTES


class FilledRunsTests(SynchronousTestCase):
    """
    `filled_runs` tells what has to be written.
    """

    def test_edges(self) -> None:
        """
        Runs begin and end at blocks of the file, wherever the piece begins.
        """
        for data, offset, expected in [
            (b"", 0, []),
            (bytes(3 * B), 0, []),
            (bytes(7), 5, []),
            (b"x" * 7, 5, [(0, 7)]),
            (b"x" * 3 * B, 0, [(0, 3 * B)]),
            (bytes(B) + b"x" + bytes(2 * B - 1), 0, [(B, 2 * B)]),
            (b"x" + bytes(2 * B), B - 1, [(0, 1)]),
            (bytes(B - 1) + b"x", 0, [(0, B)]),
            (b"x" * B + bytes(B) + b"x" * B, 0, [(0, B), (2 * B, 3 * B)]),
            (b"x" * B + bytes(B) + b"x" * B, 10, [(0, 3 * B)]),
        ]:
            self.assertEqual(list(filled_runs(data, offset)), expected, (len(data), offset))

    def test_nothing_is_lost(self) -> None:
        """
        Whatever lies outside of the runs is zero, and the runs are in order.
        """
        chance = random.Random(7)
        for _ in range(50):
            blocks = [chance.choice([bytes(B // 2), chance.randbytes(B // 2)]) for _ in range(12)]
            data, offset = b"".join(blocks)[chance.randrange(B) :], chance.randrange(2 * B)
            rebuilt, last = bytearray(len(data)), 0
            for start, end in filled_runs(data, offset):
                self.assertTrue(last <= start < end <= len(data))
                rebuilt[start:end] = data[start:end]
                last = end
            self.assertEqual(bytes(rebuilt), data)
