"""Whether this container's part of Airflow is alive: ``python /opt/airflow/alive.py JOB_TYPE | worker``.

``airflow jobs check`` says the same after importing Airflow, which takes a core for five seconds; this takes a fraction of
one.  A part with a job writes its heartbeat to the database; a Celery worker answers a ping.
"""

from __future__ import annotations

import socket
import sys

from secret_address import address

SECONDS = 60  # that a heartbeat may be old
_YOUNG = """SELECT count(*) FROM job WHERE job_type = %s AND hostname = %s AND state = 'running'
            AND latest_heartbeat > now() - make_interval(secs => %s)"""


def has_heartbeat(job_type: str) -> bool:
    """Whether a job of this container wrote its heartbeat lately."""
    import psycopg2

    database = psycopg2.connect(address("database").replace("+psycopg2", ""), connect_timeout=4)
    try:
        with database.cursor() as cursor:
            cursor.execute(_YOUNG, (job_type, socket.gethostname(), SECONDS))
            row = cursor.fetchone()
            return row is not None and row[0] > 0
    finally:
        database.close()


def worker_answers() -> bool:
    """Whether the Celery worker of this container answers."""
    from celery import Celery

    app = Celery(broker=address("broker"))
    return bool(app.control.ping(destination=[f"celery@{socket.gethostname()}"], timeout=4.0))


if __name__ == "__main__":
    part = sys.argv[1]
    sys.exit(not (worker_answers() if part == "worker" else has_heartbeat(part)))
