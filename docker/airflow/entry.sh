#!/usr/bin/env bash
# Every container of Airflow begins here: put what Airflow wants as files of its own into memory, then become it.
# Arguments are those of `airflow`; a command that begins with airflow, bash or python, as the Helm chart gives it, is
# taken as it is.
set -euo pipefail

if [[ -e /run/secrets/airflow_admin_password ]]; then # Compose mounts secrets; on Kubernetes they are the chart's
    (umask 077 && mkdir -p /tmp/airflow && python -I /opt/airflow/write_private_files.py /run/secrets /tmp/airflow)
fi
umask 022 # what Airflow and its tasks write is read by other containers: logs, runs, metrics
case ${1:-} in
airflow | bash | python) exec "$@" ;;
*) exec airflow "$@" ;;
esac
