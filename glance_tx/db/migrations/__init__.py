"""
The way from an empty database to `glance_tx.db.tables`, one Alembic revision after another.

Revisions only go forward. One that was released is never edited. A new one is a module in ``versions`` that names the
last as its ``down_revision``; it describes tables as they are at that point, by themselves and not by way of
`glance_tx.db.tables`, and by way of `glance_tx.db.migrations.resumable`, since MariaDB and MySQL commit after every
table: a revision that was interrupted there is run again from its beginning.
"""
