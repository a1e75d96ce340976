"""
Where a broker is, read from a transport URL.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.notify.broker import Broker, BrokerHost


class BrokerTests(SynchronousTestCase):
    """
    `Broker.parse`.
    """

    def test_good(self) -> None:
        """
        Hosts, ports, credentials and the virtual host are found; what is left out has RabbitMQ's own defaults.
        """
        one = BrokerHost("mq", 5672, "guest", "guest")
        for url, broker in (
            ("rabbit://mq", Broker((one,))),
            ("rabbit://mq/", Broker((one,))),
            ("rabbit://mq:5671/glance", Broker((BrokerHost("mq", 5671, "guest", "guest"),), "glance")),
            ("rabbit://mq/%2Fvh", Broker((one,), "/vh")),
            ("rabbit://mq//", Broker((one,), "/")),
            (
                "rabbit://u:p%40ss@a:1,v:q@[::1]:2/vh",
                Broker((BrokerHost("a", 1, "u", "p@ss"), BrokerHost("::1", 2, "v", "q")), "vh"),
            ),
        ):
            self.assertEqual(Broker.parse(url), broker, url)

    def test_bad(self) -> None:
        """
        Anything else is refused, and a password in it is not repeated.
        """
        for url in (
            "",
            "mq:5672",
            "kafka://u:s3cret@mq",
            "rabbit://",
            "rabbit://u:s3cret@",
            "rabbit://u:s3cret@mq:port",
            "rabbit://u:s3cret@mq:0",
            "rabbit://u:s3cret@mq:70000",
            "rabbit://u:s3cret@mq,",
            "rabbit://u:s3cret@m q",
            "rabbit://u:s3cret@mq/vh?ssl=1",
            "rabbit://u:s3cret@mq/vh#x",
            "rabbit://u:s3cret@[::1",
        ):
            error = self.assertRaises(ValueError, Broker.parse, url)
            self.assertNotIn("s3cret", f"{error!r} {error.__cause__!r}", url)

    def test_secret(self) -> None:
        """
        A broker does not show its passwords.
        """
        self.assertNotIn("s3cret", repr(Broker.parse("rabbit://u:s3cret@mq")))
