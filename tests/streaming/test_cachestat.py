"""
Tests for `glance_tx.streaming.cachestat`.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.cachestat import is_cached
from glance_tx.streaming.units import MiB
from tests.contracts.body import patterned
from tests.streaming.files import descriptor_of, drop_from_memory


class IsCachedTests(SynchronousTestCase):
    """
    `is_cached` of a file of four MiB.
    """

    SIZE = 4 * MiB + 1

    def setUp(self) -> None:
        self.descriptor = descriptor_of(self, patterned(self.SIZE))
        self.addCleanup(os.close, self.descriptor)
        if is_cached(self.descriptor, 0, 1) is None:
            self.skipTest("this kernel does not tell (Linux 6.5 does)")

    def test_written(self) -> None:
        """
        What was just written is in memory, to the last byte, and nothing is behind it.
        """
        self.assertTrue(is_cached(self.descriptor, 0, self.SIZE))
        self.assertTrue(is_cached(self.descriptor, self.SIZE - 1, self.SIZE))
        self.assertFalse(is_cached(self.descriptor, 0, self.SIZE + MiB))

    def test_dropped(self) -> None:
        """
        What was dropped is not, and one part that is does not make the whole so.
        """
        drop_from_memory(self, self.descriptor)
        self.assertFalse(is_cached(self.descriptor, 0, 1))
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # without reading more than is asked for
        os.pread(self.descriptor, 1, 2 * MiB)
        self.assertTrue(is_cached(self.descriptor, 2 * MiB, 2 * MiB + 1))
        self.assertFalse(is_cached(self.descriptor, 2 * MiB, self.SIZE))

    def test_no_file(self) -> None:
        """
        A descriptor that is none is an error, and not an answer.
        """
        self.assertRaises(OSError, is_cached, -1, 0, 1)
