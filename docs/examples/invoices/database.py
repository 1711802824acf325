"""The database: a session for each request, and for each attempt of a task."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

from fastapi import Depends

from invoices.settings import CurrentSettings

TABLES = """
CREATE TABLE IF NOT EXISTS invoices (
    number INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL, due TEXT NOT NULL, run TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, invoice INTEGER NOT NULL, cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS letters (run TEXT PRIMARY KEY, customer TEXT NOT NULL, text TEXT NOT NULL);
CREATE VIEW IF NOT EXISTS open_invoices AS
    SELECT number, due, cents - (SELECT coalesce(sum(cents), 0) FROM payments WHERE invoice = number) AS cents
    FROM invoices WHERE cents > (SELECT coalesce(sum(cents), 0) FROM payments WHERE invoice = number);
"""


def get_session(settings: CurrentSettings) -> Iterator[sqlite3.Connection]:
    """Commits when the task has returned, rolls back when it has failed, and closes in any case."""
    connection = sqlite3.connect(settings.database, timeout=30, isolation_level="IMMEDIATE", check_same_thread=False)
    with closing(connection) as session, session:
        session.executescript(TABLES)
        yield session


Session = Annotated[sqlite3.Connection, Depends(get_session)]
