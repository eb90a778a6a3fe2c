#!/usr/bin/env bash
# A server of one's own, and the registry that it pulls from, for scripts/release.sh.  Sourced by
# scripts/compose_on_podman.sh after engine.sh and images.sh.
#
#   server_check     say what is missing, status 1
#   registry_start   a registry, in the containers' network; engine_stop ends it
#   server_images TAG...  the images of docker-compose.yaml there, and the project's own with these tags
#   server_make      a checkout with an .env, in $SERVER
#   systemd_start    a container with systemd and cron, with the units of deploy/systemd/

SERVER=$ENGINE/server
REGISTRY=127.0.0.1:5000
# `docker compose` is Docker Compose, as a plug-in of Docker's own client
export DOCKER_CONFIG=$ENGINE/docker

server_check() {
    local program missing=()
    for program in docker docker-registry; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if ((${#missing[@]})); then
        echo "missing: ${missing[*]}. Docker's client (of Debian's docker.io), and Debian's docker-registry" >&2
        return 1
    fi
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    echo '{}' >"$DOCKER_CONFIG/config.json" # podman looks for logins there
    ln -sf "$(.venv/bin/python -c 'from tests.deploy.compose import COMPOSE; print(COMPOSE)')" \
        "$DOCKER_CONFIG/cli-plugins/docker-compose"
}

registry_start() {
    cat >"$ENGINE/registry.yml" <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $ENGINE/registry}, cache: {blobdescriptor: inmemory}}
http: {addr: "$REGISTRY"}
END
    setsid nsenter --net="/run/netns/$NETNS" docker-registry serve "$ENGINE/registry.yml" >"$ENGINE/registry.log" 2>&1 &
    echo $! >"$ENGINE/registry.pid"
}

# push IMAGE NAME: under another name, into the registry
push() {
    podman tag "$1" "$REGISTRY/$2"
    in_network podman push --quiet --tls-verify=false "$REGISTRY/$2"
}

# tagged TAG PART LINE: an own image with a line of a Dockerfile more, so that each tag is another image
tagged() {
    printf 'FROM localhost/model-release-%s:local\nLABEL tag=%s\n%s\n' "$2" "$1" "$3" |
        build --tag "$REGISTRY/model-release-$2:$1" -
    in_network podman push --quiet --tls-verify=false "$REGISTRY/model-release-$2:$1"
}

server_images() {
    local image tag part line
    for image in library/postgres:17-bookworm library/redis:7.2-bookworm library/haproxy:3.0-bookworm; do
        push "docker.io/$image" "${image#library/}"
    done
    for tag in "$@"; do
        for part in airflow recommendation-api; do
            line=''
            case $tag,$part in
            never-healthy,recommendation-api) line='CMD ["sleep", "infinity"]' ;;
            never-starts,airflow) line='ENTRYPOINT ["false"]' ;;
            esac
            tagged "$tag" "$part" "$line"
        done
    done
}

server_make() {
    rm -rf "$SERVER"
    git clone --quiet --no-hardlinks . "$SERVER"
    git ls-files -z | xargs -0 cp --parents --target-directory="$SERVER" # what is not committed yet, too
    cat >"$SERVER/.env" <<END
$(grep -v '^TAG=\|^COMPOSE_PROFILES=\|_URL=\|^STATSD_ON=' "$ENGINE/settings.env")
AIRFLOW_IMAGE=$REGISTRY/model-release-airflow
RECOMMENDATION_API_IMAGE=$REGISTRY/model-release-recommendation-api
POSTGRES_IMAGE=$REGISTRY/postgres:17-bookworm
REDIS_IMAGE=$REGISTRY/redis:7.2-bookworm
HAPROXY_IMAGE=$REGISTRY/haproxy:3.0-bookworm
END
}

# systemd_start: a machine with systemd and cron, whose docker is this engine.  The units are those of deploy/systemd/, with
# what a server would change by `systemctl edit`: where the checkout is, and that the timer need not wait for the morning.
systemd_start() {
    local unit file
    base systemd systemd,systemd-sysv,cron,git,ca-certificates
    mkdir -p "$ENGINE/units"
    cp deploy/systemd/*.service deploy/systemd/*.timer "$ENGINE/units"
    printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' >"$ENGINE/units/docker.service"
    for unit in model-release.service model-release-deploy.service; do
        mkdir -p "$ENGINE/units/$unit.d"
        printf '[Service]\nWorkingDirectory=\nWorkingDirectory=%s\n' "$SERVER" >"$ENGINE/units/$unit.d/here.conf"
    done
    mkdir -p "$ENGINE/units/model-release-deploy.timer.d"
    printf '[Timer]\nOnCalendar=\nOnActiveSec=2s\nRandomizedDelaySec=0\n' >"$ENGINE/units/model-release-deploy.timer.d/soon.conf"
    in_network podman run --detach --replace --name systemd --network none --privileged --systemd always \
        --volume "$SERVER:$SERVER" --volume "$ENGINE/secrets:$ENGINE/secrets:ro" \
        --volume "$ENGINE/docker.sock:/var/run/docker.sock" --volume "$(command -v docker):/usr/bin/docker:ro" \
        --volume "$(readlink -f "$DOCKER_CONFIG/cli-plugins/docker-compose"):/usr/libexec/docker/cli-plugins/docker-compose:ro" \
        localhost/model-release-systemd:1 /lib/systemd/systemd >/dev/null
    for file in "$ENGINE"/units/*; do
        podman cp "$file" "systemd:/etc/systemd/system/"
    done
    podman exec systemd sh -c "mkdir -p /etc/model-release && touch /etc/model-release/tag && git config --system --add safe.directory '*'"
    podman exec systemd systemctl daemon-reload
}
