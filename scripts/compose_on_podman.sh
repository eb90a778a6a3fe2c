#!/usr/bin/env bash
# Bring the stack of docker-compose.yaml up without a Docker engine, and prove it: Docker Compose on Podman, with images that
# are built here.  A release; a release that loses a replica, a Celery worker and the scheduler; a rollback; then all of it
# is taken down.  Prints what happens, and when; status 1 if anything did not happen.
#
#   scripts/compose_on_podman.sh                     images (the first time), then the proof
#   scripts/compose_on_podman.sh --release-script    another proof: scripts/release.sh on a server that pulls from a registry
#   scripts/compose_on_podman.sh --systemd           another proof: the units of deploy/systemd/, and its line for cron
#   scripts/compose_on_podman.sh --canary            another proof: a trial that has only the profile `canary` as users
#   scripts/compose_on_podman.sh [...] --write-docs  and put the timeline into docs/production.md
#   scripts/compose_on_podman.sh [...] --keep        leave it running; end it with --stop
#   scripts/compose_on_podman.sh --images            only build the images
#   scripts/compose_on_podman.sh --stop              end what --keep or an interruption left
#
# Needs root and Debian packages, which it names if they are missing, and 8 GiB of memory.  Changes nothing outside
# .cache/podman but a network namespace.  Which images are stand-ins: docs/production.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/podman/engine.sh
source scripts/podman/engine.sh
# shellcheck source=scripts/podman/images.sh
source scripts/podman/images.sh
# shellcheck source=scripts/podman/server.sh
source scripts/podman/server.sh

story=stack images=false keep=false options=()
for option in "$@"; do
    case $option in
    --stop) engine_stop && exit ;;
    --images) images=true ;;
    --release-script | --systemd | --canary) story=${option#--} ;;
    --keep) keep=true && options+=("$option") ;;
    --write-docs) options+=("$option") ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
    esac
done

engine_check
bash scripts/setup.sh
if [[ $story == release-script || $story == systemd ]]; then
    server_check
    options+=(--folder "$SERVER")
fi
engine_configure
started=$SECONDS
all_images local
echo "images: $((SECONDS - started)) s"
if $images; then
    exit
fi

bash scripts/make_secrets.sh "$ENGINE/secrets"
env_file=$ENGINE/settings.env
cat >"$env_file" <<END
SECRETS_FOLDER=$ENGINE/secrets
DATA_FOLDER=$ENGINE/data
TAG=local
COMPOSE_PROFILES=monitoring
PROMETHEUS_URL=http://prometheus:9090
ALERTMANAGER_URL=http://alertmanager:9093
STATSD_ON=True
ALERT_BRIDGE_ROBOTS_FILE=
ALERT_BRIDGE_LOG_ONLY=true
RECOMMENDATION_PIPELINE_SCHEDULE=
RECOMMENDATION_RECONCILIATION_SCHEDULE=
RECOMMENDATION_RECONCILE_STATE_SCHEDULE=
RECOMMENDATION_ALERT_SILENCES_SCHEDULE=
RECOMMENDATION_PRUNE_SCHEDULE=
END
mkdir -p "$ENGINE/data"
if ! $keep; then
    trap engine_stop EXIT
fi
trap 'exit 130' INT TERM
engine_start
case $story in
release-script | systemd)
    tags=(v1 v2 v3)
    if [[ $story == release-script ]]; then
        tags+=(never-healthy never-starts)
    fi
    registry_start
    server_images "${tags[@]}"
    server_make
    env_file=$SERVER/.env
    ;;&
systemd) systemd_start ;;
canary)
    cat >>"$env_file" <<END
COMPOSE_PROFILES=monitoring,canary
TRAFFIC_SPEED=inf
RECOMMENDATION_RELEASE_STEPS=shadow:0.5 canary:0.2
RELEASE_POLICY=/opt/code/config/release_policy.staging.yaml
END
    ;;
esac
in_network .venv/bin/python -m tests.containers --story "$story" --secrets "$ENGINE/secrets" --settings "$env_file" \
    "${options[@]}"
