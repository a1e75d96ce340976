"""
Tests for what the image data benchmark reads, chooses and prints.
"""

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from imagedata.cases import CASES, UnknownCase, choose
from imagedata.chart import chart
from imagedata.client import ClientFailed, parse_load
from imagedata.report import Measured, figures_table, goals_table, remarks
from imagedata.rows import BUSY, OURS, Goal, Row
from imagedata.upstreams import sent_bytes

PRINTED = """\
{"began": 100.0, "ended": 104.0, "cpu_seconds": 1.0, "clients": [
 {"status": 200, "bytes": 10, "requests": 1, "first": 100.5, "last": 102.0, "cache": "hit"},
 {"status": 206, "bytes": 30, "requests": 2, "first": 101.5, "last": 104.0, "cache": "HIT"}]}
"""


class LoadTests(SynchronousTestCase):
    """
    What the load client prints is understood.
    """

    def setUp(self) -> None:
        self.load = parse_load(PRINTED)

    def test_figures(self) -> None:
        """
        Sums are those of all clients, and times those of the slowest.
        """
        self.assertEqual((40, 3, 4.0, 0.25), (self.load.bytes, self.load.requests, self.load.seconds, self.load.busy))
        self.assertEqual((1.5, 4.0), (self.load.first_byte_seconds, self.load.last_byte_seconds))

    def test_require(self) -> None:
        """
        One client with the wrong status, length or cache state is one too many.
        """
        self.assertIs(self.load, self.load.require([200, 206], cache="hit"))
        self.assertRaises(ClientFailed, self.load.require, [200])
        self.assertRaises(ClientFailed, self.load.require, [200, 206], 10)
        self.assertRaises(ClientFailed, self.load.require, [200, 206], None, "fill")


class ChooseTests(SynchronousTestCase):
    """
    The command line picks cases.
    """

    def test_all(self) -> None:
        """
        Without a word it is all of them.
        """
        self.assertEqual(list(CASES), choose(""))

    def test_some(self) -> None:
        """
        Their order is the benchmark's.
        """
        self.assertEqual(["download", "herd"], choose("herd, download"))

    def test_unknown(self) -> None:
        """
        A case that there is not is an error.
        """
        self.assertRaises(UnknownCase, choose, "download,nonsense")


class UpstreamTests(SynchronousTestCase):
    """
    The upstream's log tells what was fetched.
    """

    def test_sent(self) -> None:
        """
        Downloads count, whole or in part; what only asks about them does not.
        """
        log = """\
t [access#info] 127.0.0.1 GET /v2/images/a/file 200 sent=1000 received=0 seconds=1.0 project=-
t [access#info] 127.0.0.1 GET /v2/images/a/file?x=1 206 sent=24 received=0 seconds=1.0 project=-
t [access#info] 127.0.0.1 HEAD /v2/images/a/file 200 sent=5000 received=0 seconds=1.0 project=-
t [access#info] 127.0.0.1 GET /v2/images/a 200 sent=70 received=0 seconds=1.0 project=-
t [access#info] 127.0.0.1 GET /v2/images/a/file 404 sent=80 received=0 seconds=1.0 project=-
"""
        self.assertEqual(1024, sent_bytes(log))


class ReportTests(SynchronousTestCase):
    """
    What was found is printed.
    """

    def setUp(self) -> None:
        row = Row(
            case="download",
            title="a <case>",
            trials=(),
            goals=(Goal(figure="cpu", factors={"nginx": 1.15}), Goal(figure="cpu", factors={"stock": 0.5})),
        )
        found = {OURS: [{"cpu": 2.0, BUSY: 0.95}], "nginx": [{"cpu": 1.0, BUSY: 0.1}], "stock": []}
        self.measured = [Measured(row, found)]

    def test_figures(self) -> None:
        """
        Ours and the others' stand beside each other with their ratio; one that has no figure has none.
        """
        line = figures_table(self.measured).splitlines()[1]
        self.assertEqual(["a", "<case>", "cpu", "2.00", "(2.00-2.00)", "1.00", "(1.00-1.00)", "2.00"], line.split())

    def test_goals(self) -> None:
        """
        Every goal says whether it was reached, or that there was nothing to compare with.
        """
        first, second = goals_table(self.measured).splitlines()[1:]
        self.assertIn("missed", first)
        self.assertIn("nothing to compare with", second)

    def test_busy_client(self) -> None:
        """
        It is said where the load client was the bottleneck.
        """
        self.assertEqual(1, len(remarks(self.measured)))
        self.assertIn("95% of ours's time", remarks(self.measured)[0])

    def test_chart(self) -> None:
        """
        The chart is XML, and shows the goals that could be judged.
        """
        drawn = ElementTree.fromstring(chart(self.measured))  # noqa: S314  (ours)
        self.assertEqual(1, len(drawn.findall(".//{http://www.w3.org/2000/svg}circle")))
