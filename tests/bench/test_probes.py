"""
Tests for `imagedata.probes` and the image that `imagedata.sparse` makes.
"""

from oslo_utils.imageutils import format_inspector
from twisted.trial.unittest import SynchronousTestCase

from imagedata.probes import percentile
from imagedata.sparse import qcow2_header

GIB = 1 << 30


class PercentileTests(SynchronousTestCase):
    """
    Of latencies it is the slow ones that count.
    """

    def test_many(self) -> None:
        """
        One percent of the values are above the 99th percentile.
        """
        self.assertAlmostEqual(990.01, percentile([float(value) for value in range(1, 1001)], 99))

    def test_few(self) -> None:
        """
        Where one percent is not a whole value it is the greatest.
        """
        self.assertEqual(3.0, percentile([1.0, 3.0, 2.0], 99))


class SparseTests(SynchronousTestCase):
    """
    The image without data is an image.
    """

    def test_header(self) -> None:
        """
        What inspects uploads finds a safe qcow2 image of the size that was asked for.
        """
        inspector = format_inspector.QcowInspector()
        inspector.eat_chunk(qcow2_header(8 * GIB).ljust(1 << 16, b"\0"))
        self.assertTrue(inspector.format_match)
        self.assertEqual(8 * GIB, inspector.virtual_size)
        inspector.safety_check()
