#!/usr/bin/env bash
# Set everything up and check the project: lint, types, layers, shell, images, compose file, workflows, tests.
#
#   scripts/test.sh                 everything, but for what takes minutes more:
#   scripts/test.sh -m long         that: the main job on PostgreSQL and on Celery with Redis, faults, the closed loop, a soak, the workflow; half an hour
#   scripts/test.sh tests/release   the checks, then these tests; arguments go to pytest
#   scripts/test.sh --no-checks -k registry
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
# a real Prometheus and Alertmanager; without them the tests that need them are skipped, and fail where CI is set
bash scripts/debian_tools.sh >/dev/null || echo "tests with a real Prometheus are left out"
# a real browser for the Releases page; the same
bash scripts/browser.sh >/dev/null || echo "tests with a browser are left out"
export PATH="$PWD/.venv/bin:$PATH" OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

step() {
    local started=$SECONDS name=$1
    shift
    printf '%-34s' "$name"
    if output=$("$@" 2>&1); then
        printf 'ok  %3d s\n' $((SECONDS - started))
    else
        printf 'FAILED\n%s\n' "$output"
        echo "run it alone: $*"
        exit 1
    fi
}

if [[ ${1:-} == --no-checks ]]; then
    shift
else
    step "ruff: lint" ruff check .
    step "ruff: format" ruff format --check .
    step "mypy: types" mypy
    step "import-linter: layers" lint-imports
    step "shellcheck: scripts" shellcheck scripts/*.sh scripts/podman/*.sh docker/airflow/*.sh .ci/run
    step "hadolint: images" hadolint docker/Dockerfile docker/collectd/Dockerfile scripts/podman/stand-ins/Containerfile
    step "compose: the stack" python -m tests.deploy.compose
    step "actionlint: workflows" actionlint
    step "zizmor: workflows' security" zizmor --offline --quiet .github/workflows
fi
# Three processes at least: one is mostly waiting for Airflow, another for alerts to fire and to end.
processes=$(python -c 'import os; print(min(4, max(3, os.cpu_count() or 3)))')
[[ $# -gt 0 ]] || set -- -m "not long"
exec python -m pytest -n "$processes" --dist loadscope --no-loadscope-reorder "$@"
