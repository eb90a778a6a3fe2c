#!/usr/bin/env bash
# Every container of Airflow begins here: put what Airflow wants as files of its own into memory, then become it.
set -euo pipefail
umask 077

mkdir -p /tmp/airflow
python -I /opt/airflow/write_private_files.py /run/secrets /tmp/airflow
umask 022 # what Airflow and its tasks write is read by other containers: logs, runs, metrics
exec airflow "$@"
