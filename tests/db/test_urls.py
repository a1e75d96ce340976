"""
Database URLs: what is understood, what is refused, and that secrets stay in them.
"""

from __future__ import annotations

import traceback

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.db.errors import UnsupportedDatabase
from glance_tx.db.urls import read_url


class ReadUrlTests(SynchronousTestCase):
    """
    `read_url`.
    """

    def test_a_url_without_a_driver_gets_the_one_that_is_installed_by_default(self) -> None:
        """
        Each kind of database has a driver for URLs that name none.
        """
        for url, driver in (
            ("sqlite:////var/lib/glance.sqlite", "sqlite+pysqlite"),
            ("postgresql://glance@db/glance", "postgresql+psycopg"),
            ("mysql://glance@db/glance", "mysql+pymysql"),
            ("mariadb://glance@db/glance", "mariadb+pymysql"),
        ):
            self.assertEqual(read_url(url).drivername, driver)

    def test_mysql_always_speaks_all_of_unicode(self) -> None:
        """
        The three-byte subset that older configurations ask for is not used.
        """
        url = read_url("mysql+pymysql://glance:secret@db/glance?charset=utf8")
        self.assertEqual(url.query["charset"], "utf8mb4")

    def test_what_cannot_be_used_is_refused_with_a_reason(self) -> None:
        """
        A URL that cannot work is refused when it is read, in words that help.
        """
        for url, word in (
            ("", "cannot be read"),
            ("glance.sqlite", "cannot be read"),
            ("oracle://db/glance", "oracle is none of"),
            ("sqlite://", "memory"),
            ("sqlite:///:memory:", "memory"),
            ("sqlite:///file:x?mode=memory&uri=true", "memory"),
            ("postgresql+asyncpg://db/glance", "asyncpg"),
            ("sqlite+aiosqlite:////var/lib/glance.sqlite", "aiosqlite"),
            ("mysql+nosuchdriver://db/glance", "not installed"),
            ("postgresql://glance:hunter@2@db/glance", "percent-encoded"),
            ("postgresql://glance:hunter2@db:port/glance", "cannot be read"),
        ):
            with self.assertRaises(UnsupportedDatabase) as caught:
                read_url(url)
            self.assertIn(word, str(caught.exception), url)

    def test_no_refusal_shows_a_password(self) -> None:
        """
        Neither the text of a refusal nor the errors behind it hold a piece of the password.
        """
        for url in (
            "oracle://glance:hunter2@db/glance",
            "postgresql://glance:hunter2@db:port/glance",
            "postgresql://glance:9@hunter2@db:5432/glance",
            "postgresql+nosuch://glance:hunter2@db/glance",
            "mysql+pymysql://glance:hunter2@:x/glance",
        ):
            with self.assertRaises(UnsupportedDatabase) as caught:
                read_url(url)
            self.assertNotIn("hunter2", "".join(traceback.format_exception(caught.exception)), url)
