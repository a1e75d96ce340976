"""
Migrations: from nothing to the tables, on every kind of database.
"""

from __future__ import annotations

import stat
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.db import migrate
from glance_tx.db.errors import SchemaUnknown
from glance_tx.db.tables import image_tags, images, metadata
from glance_tx.domain.errors import CatalogUnavailable
from tests.db.databases import ByHand, OnMysql, OnPostgresql, OnSqlite

UPGRADE_LEANLY = (
    "import sys; from glance_tx.db.migrate import upgrade; upgrade(sys.argv[1]); print('alembic' in sys.modules)"
)
UPGRADE = "import sys; from glance_tx.db.migrate import upgrade; sys.stdin.read(); upgrade(sys.argv[1])"

# In words, for the tables of today are not those of the first revision.
FIRST_IMAGE = """
    INSERT INTO images
    (id, name, status, visibility, protected, os_hidden, min_ram, min_disk, created_at, updated_at, deleted, fence)
    VALUES ('an id', 'a name', 'queued', 'shared', false, false, 0, 0, '2024-05-06', '2024-05-06', false, 0)
"""


def upgrade_to_first(connection: sa.Connection) -> None:
    """
    Bring an empty database to where the first version left it.
    """
    config = Config()
    config.set_main_option("script_location", "glance_tx:db/migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


class MigrationContract:
    """
    What holds on every kind of database.
    """

    make_url: Any

    def setUp(self) -> None:
        self.url = self.make_url()
        self.by_hand = ByHand(self, self.url)

    def differences(self) -> list[Any]:
        with self.by_hand.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    def test_a_database_that_is_up_to_date_needs_no_alembic(self) -> None:
        """
        Alembic is loaded by the process that migrates, and by none that finds nothing to do.
        """
        said = [
            subprocess.run([sys.executable, "-c", UPGRADE_LEANLY, self.url], check=True, capture_output=True, text=True)
            for _ in range(2)
        ]
        self.assertEqual(["True\n", "False\n"], [each.stdout for each in said])

    def test_an_empty_database_becomes_the_tables(self) -> None:
        """
        An empty database is at no revision; upgrading leaves exactly what `tables` describes, at the newest one.
        """
        self.assertIsNone(migrate.current(self.url))
        migrate.upgrade(self.url)
        self.assertEqual(migrate.current(self.url), migrate.head())
        self.assertEqual(self.differences(), [])

    def test_the_first_revision_is_brought_up_with_its_data(self) -> None:
        """
        A database at the first revision becomes the same tables as an empty one, and keeps what is in it.
        """
        with self.by_hand.connect() as connection:
            upgrade_to_first(connection)
            connection.execute(sa.text(FIRST_IMAGE))
            connection.execute(sa.text("INSERT INTO image_tags (image_id, value) VALUES ('an id', 'a tag')"))
            connection.commit()
        self.assertEqual(migrate.current(self.url), "0001")
        self.assertNotEqual(self.differences(), [])
        migrate.upgrade(self.url)
        self.assertEqual(migrate.current(self.url), migrate.head())
        self.assertEqual(self.differences(), [])
        kept = sa.select(images.c.id, images.c.name, image_tags.c.value).join(image_tags)
        with self.by_hand.connect() as connection:
            self.assertEqual(list(connection.execute(kept)), [("an id", "a name", "a tag")])

    def test_upgrading_again_changes_nothing(self) -> None:
        """
        A database that is at the newest revision keeps what is in it.
        """
        migrate.upgrade(self.url)
        self.by_hand.run("CREATE TABLE witness (id INTEGER)")
        migrate.upgrade(self.url)
        self.assertEqual(migrate.current(self.url), migrate.head())
        self.assertEqual(self.by_hand.run("SELECT count(*) FROM witness"), [(0,)])

    def test_processes_that_upgrade_at_once_all_succeed(self) -> None:
        """
        Several processes that start on an empty database at the same time all find it migrated.
        """
        command = [sys.executable, "-c", UPGRADE, self.url]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()  # the starting shot
            process.stdin = None
        for process in processes:
            said, _ = process.communicate(timeout=60)
            self.assertEqual((process.returncode, said), (0, b""))
        self.assertEqual(self.differences(), [])

    def test_an_interrupted_upgrade_is_completed(self) -> None:
        """
        Where tables were made one by one and the revision not noted, upgrading again completes it.
        """
        migrate.upgrade(self.url)
        with self.by_hand.connect() as connection:
            for index in images.indexes:
                if index.name in {"ix_images_checksum", "ix_images_os_hash_value"}:
                    index.drop(connection)
            image_tags.drop(connection)
            connection.execute(sa.text("DELETE FROM alembic_version"))
            connection.commit()
        migrate.upgrade(self.url)
        self.assertEqual(self.differences(), [])

    def test_a_revision_that_is_not_ours_is_left_alone(self) -> None:
        """
        A database of a newer version, or of another program, is refused and not touched.
        """
        self.by_hand.run("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        self.by_hand.run("INSERT INTO alembic_version VALUES ('2025_1_expand01')")
        with self.assertRaises(SchemaUnknown) as caught:
            migrate.upgrade(self.url)
        self.assertEqual(caught.exception.revision, "2025_1_expand01")
        with self.by_hand.connect() as connection:
            self.assertEqual(sa.inspect(connection).get_table_names(), ["alembic_version"])


class ServerMigrationContract:
    """
    What holds on databases that are servers.
    """

    make_url: Any

    def test_an_unreachable_server_is_told_without_the_password(self) -> None:
        """
        Where the server refuses, upgrading says why, and nothing it says holds the password.
        """
        url = sa.make_url(self.make_url()).set(username="nobody_here", password="hunter2", database="nowhere")
        for act in (migrate.upgrade, migrate.current):
            with self.assertRaises(CatalogUnavailable) as caught:
                act(url.render_as_string(hide_password=False))
            self.assertIn("nobody_here", str(caught.exception))
            self.assertNotIn("hunter2", "".join(traceback.format_exception(caught.exception)))


class SqliteMigrationTests(OnSqlite, MigrationContract, SynchronousTestCase):
    """
    Migrations on SQLite.
    """

    def test_a_new_file_is_its_owners_alone(self) -> None:
        """
        A database file that is made here can be read by nobody else; one that is there keeps its rights.
        """
        path = Path(self.url.removeprefix("sqlite:///"))
        migrate.upgrade(self.url)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        path.chmod(0o640)
        migrate.upgrade(self.url)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)

    def test_a_missing_folder_is_told(self) -> None:
        """
        A file in a folder that is not there is refused in one line.
        """
        with self.assertRaises(CatalogUnavailable) as caught:
            migrate.upgrade(f"{self.url}/no/such/folder")
        self.assertIn("unable to open", str(caught.exception))


class PostgresqlMigrationTests(OnPostgresql, MigrationContract, ServerMigrationContract, SynchronousTestCase):
    """
    Migrations on PostgreSQL.
    """


class MysqlMigrationTests(OnMysql, MigrationContract, ServerMigrationContract, SynchronousTestCase):
    """
    Migrations on MariaDB or MySQL.
    """
