"""
``glance-manage``, as operators and their scripts call it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.commands.manage import main
from glance_tx.db import migrate
from tests.db.databases import ByHand, OnMysql, OnPostgresql, OnSqlite


class ManageCase(SynchronousTestCase):
    """
    A configuration file, and a way to call the command.
    """

    def configure(self, url: str, more: str = "") -> None:
        self.path = Path(self.mktemp())
        self.path.write_text(f"[database]\nconnection = {url.replace('$', '$$')}\n{more}")

    def call(self, *words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["--config-file", str(self.path), *words])
        return result.exit_code, result.output.strip()


class DatabaseContract:
    """
    What holds on every kind of database.
    """

    make_url: Any
    configure: Any
    call: Any
    assertEqual: Any

    def test_from_nothing(self) -> None:
        """
        ``db sync`` brings an empty database up; ``db version`` and ``db check`` tell where it is, the latter by its
        exit status as well.
        """
        url, head = self.make_url(), migrate.head()
        self.configure(url)
        self.assertEqual(self.call("db", "version"), (0, "0"))
        status, said = self.call("db", "check")
        self.assertEqual((status, "glance-manage db sync" in said), (3, True))
        self.assertEqual(self.call("db", "sync"), (0, f"the database is at {head} now"))
        self.assertEqual(self.call("db", "sync"), (0, f"the database is at {head} already"))
        self.assertEqual(self.call("db", "version"), (0, head))
        self.assertEqual(self.call("db", "check"), (0, f"the database is up to date, at {head}"))
        self.assertEqual(self.call("db", "purge"), (0, "0 rows removed"))

    def test_not_ours(self) -> None:
        """
        A database that another program migrated is refused in a line, by whatever command would work on it.
        """
        url = self.make_url()
        self.configure(url)
        by_hand = ByHand(self, url)  # type: ignore[arg-type]
        by_hand.run("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        by_hand.run("INSERT INTO alembic_version VALUES ('2025_1_expand01')")
        for words in (["db", "sync"], ["db", "check"]):
            status, said = self.call(*words)
            self.assertEqual((status, said.count("\n")), (1, 0))
            self.assertEqual("2025_1_expand01" in said, True, said)


class SqliteManageTests(OnSqlite, DatabaseContract, ManageCase):
    """
    On SQLite, and what is the same everywhere.
    """

    def test_old_names(self) -> None:
        """
        The spellings of stock Glance's scripts work.
        """
        for words in (["db_sync"], ["db", "upgrade"], ["db", "expand"], ["db_upgrade"]):
            self.configure(self.make_url())
            self.assertEqual((words, self.call(*words)), (words, (0, f"the database is at {migrate.head()} now")))
            self.assertEqual(self.call("db_version"), (0, migrate.head()))
            for more in (["db", "migrate"], ["db", "contract"]):
                self.assertEqual(self.call(*more)[0], 0)

    def test_purge_options(self) -> None:
        """
        Ages and numbers of rows can be given; such as cannot be are refused.
        """
        self.configure(self.make_migrated_url())
        for good in (["--age_in_days", "0"], ["--max_rows", "-1"], ["--age-in-days=5", "--max-rows=7"]):
            self.assertEqual(self.call("db", "purge", *good), (0, "0 rows removed"))
        for bad in (["--age_in_days=-1"], ["--max_rows=-2"], ["--max_rows=many"], ["--age_in_days=1000000"]):
            self.assertEqual((bad, self.call("db", "purge", *bad)[0]), (bad, 2))

    def test_purge_of_nothing(self) -> None:
        """
        A database that is not migrated is not purged.
        """
        self.configure(self.make_url())
        status, said = self.call("db", "purge")
        self.assertEqual((status, "glance-manage db sync" in said), (1, True))

    def test_whole_configuration(self) -> None:
        """
        The daemon's own file serves, with options of a stock Glance in it and without an identity.
        """
        self.configure(self.make_url(), "[DEFAULT]\nuse_keystone_limits = true\n[keystone_authtoken]\nusername = x\n")
        self.assertEqual(self.call("db", "version"), (0, "0"))

    def test_wrong_configuration(self) -> None:
        """
        A database that there is not, or an address that is none, is told in a line, and without the password.
        """
        for url in ("postgresql://u:s3cret@127.0.0.1:1/x", "oracle://u:s3cret@h/x", "sqlite:////no/such/folder/x"):
            self.configure(url)
            status, said = self.call("db", "sync")
            self.assertEqual((url, status), (url, 1))
            self.assertTrue(said.startswith("Error: "), said)
            self.assertNotIn("Traceback", said)
            self.assertNotIn("s3cret", said)

    def test_no_such_file(self) -> None:
        """
        A configuration file that there is not is refused.
        """
        self.path = Path("/no/such/file.conf")
        self.assertEqual(self.call("db", "version")[0], 2)


class PostgresqlManageTests(OnPostgresql, DatabaseContract, ManageCase):
    """
    On PostgreSQL.
    """


class MysqlManageTests(OnMysql, DatabaseContract, ManageCase):
    """
    On MariaDB or MySQL.
    """
