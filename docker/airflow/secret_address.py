"""Print the address of what Airflow keeps its state in, with the password from its secret: for ``..._cmd`` settings.

``python secret_address.py database|results|broker [SECRETS]``
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

ADDRESSES = {
    "database": ("postgresql+psycopg2://airflow:{}@postgres:5432/airflow", "postgres_password"),
    "results": ("db+postgresql+psycopg2://airflow:{}@postgres:5432/airflow", "postgres_password"),
    "broker": ("redis://:{}@redis:6379/0", "redis_password"),
}


def address(of: str, secrets: Path = Path("/run/secrets")) -> str:
    """Return one address, its password quoted."""
    form, name = ADDRESSES[of]
    return form.format(quote((secrets / name).read_text(encoding="utf-8").strip(), safe=""))


if __name__ == "__main__":
    sys.stdout.write(address(sys.argv[1], *map(Path, sys.argv[2:])))
