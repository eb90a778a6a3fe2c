#!/usr/bin/env bash
# Break everything, at every step of releases, and see that each ends fully on the new run or fully on the old one.
#
#   scripts/chaos.sh                            each fault once at every step: more than 200, about half an hour
#   scripts/chaos.sh --fault "replica killed"   one kind; --rounds 3: each three times; --help: all options
#   scripts/chaos.sh lease                      kill all of Airflow while a candidate is on trial, 20 times: about 20 minutes
#   scripts/chaos.sh services                   kill each service once, with Celery, Redis and PostgreSQL: about a quarter of an hour
#   scripts/chaos.sh --write-docs               put the tables into docs/chaos.md
#
# Status 1 if anything was not as it should be.  Everything it makes is in a new folder, whose name it prints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
bash scripts/debian_tools.sh >/dev/null
exec .venv/bin/python -m tests.chaos "$@"
