"""
Secrets are taken out of what people read.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.redact import printable, redact_headers, redact_text, redact_url

URLS = {
    "redis://:secret@cache:6379/0": "redis://***@cache:6379/0",
    "mysql+pymysql://glance:secret@db/glance?charset=utf8": "mysql+pymysql://glance:***@db/glance?charset=utf8",
    "http://secret@host/": "http://***@host/",
    "postgresql://u:se@cret@db/x": "postgresql://u:***@db/x",
    "mysql+pymysql://glance:sec/ret?#@db/glance": "mysql+pymysql://glance:***@db/glance",
    "redis://:sec/ret@cache:6379/0": "redis://***@cache:6379/0",
    "http://[::1]:9292/v2/images/a@b": "http://[::1]:9292/v2/images/a@b",
    "http://u:secret@host": "http://u:***@host",
    "/v2/images?token=secret&limit=2": "/v2/images?token=***&limit=2",
    "https://s3/b/k?X-Amz-Signature=secret&X-Amz-Date=1": "https://s3/b/k?X-Amz-Signature=***&X-Amz-Date=1",
    "https://swift/o?temp_url_sig=1&auth_token=secret": "https://swift/o?temp_url_sig=1&auth_token=***",
    "/v2/images?auth_token=secret": "/v2/images?auth_token=***",
    "http://host:9292/v2/images/a@b": "http://host:9292/v2/images/a@b",
    "sqlite:////var/lib/glance/glance.sqlite": "sqlite:////var/lib/glance/glance.sqlite",
    "": "",
}


class RedactTests(SynchronousTestCase):
    """
    `redact_url`, `redact_text` and `redact_headers`.
    """

    def test_urls(self) -> None:
        """
        Passwords and secret parameters of a URL go; all the rest stays.
        """
        self.assertEqual({url: redact_url(url) for url in URLS}, URLS)

    def test_running_text(self) -> None:
        """
        Every URL in a text is treated, and the values of credential headers are.
        """
        text = "from redis://:secret@a/0 to mysql://u:secret@b/c\nX-Auth-Token: secret\nAccept: */*"
        self.assertEqual(redact_text(text), "from redis://***@a/0 to mysql://u:***@b/c\nX-Auth-Token: ***\nAccept: */*")

    def test_printed_headers(self) -> None:
        """
        A credential header is found in the printed form of a mapping too.
        """
        self.assertNotIn("secret", redact_text("headers {'x-service-token': 'secret'}"))

    def test_header_lines(self) -> None:
        """
        Values of credential headers are replaced, whatever the case of the name.
        """
        self.assertEqual(
            redact_headers([("X-AUTH-TOKEN", "secret"), ("Accept", "*/*")]),
            (("X-AUTH-TOKEN", "***"), ("Accept", "*/*")),
        )


class PrintableTests(SynchronousTestCase):
    """
    `printable`.
    """

    def test_control_characters(self) -> None:
        """
        What could end a line or drive a terminal is escaped; other letters stay as they are.
        """
        self.assertEqual(printable("a\r\nb\x1b[2Jé\u202e", 100), "a\\r\\nb\\x1b[2Jé\\u202e")

    def test_bound(self) -> None:
        """
        A long text is cut, and shows it.
        """
        self.assertEqual(printable("x" * 11, 10), "x" * 10 + "...")
        self.assertEqual(printable("x" * 10, 10), "x" * 10)
