#!/usr/bin/env bash
# Releases and rollbacks in a row, under traffic: does anything leak, is a request lost, is a run pruned that is needed?
#
#   scripts/soak.sh                 50 rounds
#   scripts/soak.sh --rounds 10     fewer; --replicas, --workers, --help: all options
#   scripts/soak.sh --airflow       by the DAGs of a real Airflow on PostgreSQL, whose processes are measured, too
#   scripts/soak.sh --trivial       the same Airflow with tasks that do nothing, to compare with it
#   scripts/soak.sh --write-docs    put the tables into docs/soak.md
#
# Status 1 if anything was not as it should be.  Everything it makes is in a new folder, which it removes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
exec .venv/bin/python -m tests.soak "$@"
