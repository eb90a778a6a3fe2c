#!/usr/bin/env bash
# The images of docker-compose.yaml, built where nothing can be pulled.  Sourced by scripts/compose_on_podman.sh after
# engine.sh.  Bases are Debian packages; everything is kept in the engine's folder and built again only if it changed.

SUITE=${SUITE:-bookworm}
PYTHON_BASE_PACKAGES=ca-certificates,netbase,tzdata,libffi8,libsqlite3-0,libssl3,libbz2-1.0,liblzma5,libreadline8,libncursesw6,zlib1g,libuuid1,libexpat1,libgdbm6,libdb5.3
SERVICES_PACKAGES=ca-certificates,netbase,wget,postgresql,redis-server,haproxy,prometheus,prometheus-alertmanager,prometheus-node-exporter,prometheus-blackbox-exporter,python3-minimal

# base NAME PACKAGES: a root file system of Debian packages
base() {
    local tar=$ENGINE/$1-base.tar
    if [[ ! -s $tar ]] || [[ $2 != "$(cat "$tar.packages" 2>/dev/null)" ]]; then
        mmdebstrap --quiet --variant=minbase --include="$2" "$SUITE" "$tar"
        podman image rm --force "localhost/model-release-$1:1" >/dev/null 2>&1 || true
        printf '%s' "$2" >"$tar.packages"
    fi
    podman image exists "localhost/model-release-$1:1" ||
        podman import --quiet "$tar" "localhost/model-release-$1:1" >/dev/null
}

# build ARGUMENTS...: outside the network of the containers, with this machine's certificates and settings of pip
build() {
    local settings=() file
    for file in /etc/ssl/certs /etc/pip.conf; do
        [[ -e $file ]] && settings+=(--volume "$file:$file:ro")
    done
    podman build --quiet --network=host --format=docker --layers "${settings[@]}" "$@" >/dev/null
}

find_python() {
    local candidate
    for candidate in "${PYTHON312:-}" python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12; do
        if [[ -n $candidate ]] && "$candidate" -c 'import sys; print(sys.base_prefix)' 2>/dev/null; then
            return
        fi
    done
    echo "this machine has no Python 3.12 to put into an image; name one: PYTHON312=/path/to/python3.12" >&2
    return 1
}

# python:3.12-slim is Debian with Python in /usr/local; here it is the Python 3.12 of this machine.
python_image() {
    local prefix
    podman image exists docker.io/library/python:3.12-slim-bookworm && return
    prefix=$(find_python)
    build --volume "$prefix:/python:ro" --tag docker.io/library/python:3.12-slim-bookworm - <<'END'
FROM localhost/model-release-python:1
RUN cp -a /python/bin /python/include /python/lib /usr/local/ \
    && rm -rf /usr/local/lib/python3.12/test /usr/local/lib/python3.12/site-packages/* \
    && ln -sf python3.12 /usr/local/bin/python && ldconfig \
    && python -m ensurepip --upgrade
END
}

stand_ins() {
    local target
    declare -A name=(
        [postgres]=docker.io/library/postgres:17-bookworm [redis]=docker.io/library/redis:7.2-bookworm
        [haproxy]=docker.io/library/haproxy:3.0-bookworm [prometheus]=docker.io/prom/prometheus:v2.55.1
        [alertmanager]=docker.io/prom/alertmanager:v0.27.0 [node-exporter]=docker.io/prom/node-exporter:v1.8.2
        [blackbox-exporter]=docker.io/prom/blackbox-exporter:v0.25.0 [grafana]=docker.io/grafana/grafana:11.6.0
    )
    for target in "${!name[@]}"; do
        build --target "$target" --tag "${name[$target]}" scripts/podman/stand-ins
    done
}

# own_images TAG: what the Dockerfiles make, unchanged
own_images() {
    podman tag localhost/model-release-python:1 docker.io/library/debian:bookworm-slim # which is little more than that
    build --file docker/collectd/Dockerfile --tag "localhost/model-release-collectd:$1" .
    local target
    for target in recommendation-api alert-bridge airflow; do
        build --file docker/Dockerfile --target "$target" --tag "localhost/model-release-$target:$1" \
            --build-arg "GIT_COMMIT=$(git rev-parse HEAD 2>/dev/null || true)" .
    done
}

all_images() {
    base python "$PYTHON_BASE_PACKAGES"
    base services "$SERVICES_PACKAGES"
    python_image
    stand_ins
    own_images "$1"
}
