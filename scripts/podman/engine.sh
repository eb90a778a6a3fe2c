#!/usr/bin/env bash
# A Podman engine that docker-compose can talk to, on a machine that has no Docker engine, no systemd and few rights.
# Sourced by scripts/compose_on_podman.sh.  Everything that it makes is in $ENGINE (images, containers, volumes, socket).
#
#   engine_check    say what is missing, status 1
#   engine_start    start it
#   engine_stop     end it, and every container in it
#   in_network CMD  run something where published ports are reachable
#
# Each obstacle, and its cure:
# - raising resource limits needs a right that is often not there: scripts/podman/runc leaves them out
# - crun wants one kind of cgroups: runc, with the limits of memory in force
# - without systemd nothing runs health checks: health_checks does
# - Podman tells names for ids of networks, and Compose would make every container anew each time: scripts/podman/relay.py
# - the machine's firewall may not be ours to write: the containers' networks live in a network namespace of their own

ENGINE=${ENGINE:-$PWD/.cache/podman}
NETNS=${NETNS:-model-release}
readonly ENGINE NETNS
export CONTAINERS_CONF=$ENGINE/containers.conf CONTAINERS_STORAGE_CONF=$ENGINE/storage.conf
export CONTAINERS_REGISTRIES_CONF=$ENGINE/registries.conf
export DOCKER_HOST=unix://$ENGINE/docker.sock

engine_check() {
    local program missing=()
    for program in podman runc conmon mmdebstrap nsenter ip iptables; do
        PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
    done
    for program in netavark aardvark-dns; do
        [[ -x /usr/lib/podman/$program ]] || missing+=("$program")
    done
    if ((${#missing[@]})); then
        echo "missing: ${missing[*]}. On Debian, as root: apt-get install --no-install-recommends podman buildah runc" \
            "netavark aardvark-dns catatonit mmdebstrap iptables" >&2
        return 1
    fi
    if [[ $(id -u) != 0 ]]; then
        echo "needs root: for the network namespace" >&2
        return 1
    fi
}

engine_configure() {
    mkdir -p "$ENGINE"
    cat >"$CONTAINERS_CONF" <<END
[containers]
log_driver = "k8s-file"
[network]
network_backend = "netavark"
network_config_dir = "$ENGINE/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "few-rights"
[engine.runtimes]
few-rights = ["$PWD/scripts/podman/runc"]
END
    # one on this machine, which only scripts/podman/server.sh starts
    printf '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n' >"$CONTAINERS_REGISTRIES_CONF"
    # before the first call: podman keeps what it found then
    cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$ENGINE/storage"
runroot = "$ENGINE/run"
END
}

in_network() { nsenter --net="/run/netns/$NETNS" "$@"; }

# What systemd timers would do: the checks of one container after the other, each as often as a loop comes around.
health_checks() {
    local container
    while sleep 3; do
        for container in $(podman ps --quiet 2>/dev/null); do
            timeout 30 podman healthcheck run "$container" >/dev/null 2>&1 || true
        done
    done
}

# engine_socket NAME: wait until it is there
engine_socket() {
    local try
    for try in {1..100}; do
        [[ -S $ENGINE/$1.sock ]] && return
        sleep 0.1
    done
    echo "$1 does not start after $try tries: $ENGINE/*.log" >&2
    return 1
}

engine_start() {
    engine_configure
    ip netns list | grep -qw "$NETNS" || ip netns add "$NETNS"
    ip -n "$NETNS" link set lo up
    rm -f "$ENGINE"/{podman,docker}.sock
    setsid nsenter --net="/run/netns/$NETNS" podman system service --time 0 "unix://$ENGINE/podman.sock" >"$ENGINE/service.log" 2>&1 &
    echo $! >"$ENGINE/service.pid"
    engine_socket podman || return
    setsid python3 scripts/podman/relay.py "$ENGINE/docker.sock" "$ENGINE/podman.sock" \
        model-release_{state,metrics,release} >"$ENGINE/relay.log" 2>&1 &
    echo $! >"$ENGINE/relay.pid"
    engine_socket docker || return
    export -f health_checks
    setsid nsenter --net="/run/netns/$NETNS" bash -c health_checks >"$ENGINE/health.log" 2>&1 &
    echo $! >"$ENGINE/health.pid"
}

engine_stop() {
    local name pid
    [[ -f $CONTAINERS_CONF ]] || return 0
    for name in health relay registry service; do
        if [[ -f $ENGINE/$name.pid ]]; then
            pid=$(<"$ENGINE/$name.pid")
            kill -- "-$pid" 2>/dev/null || true
            rm -f "$ENGINE/$name.pid"
        fi
    done
    if ip netns list | grep -qw "$NETNS"; then
        in_network podman rm --all --force --time 0 >/dev/null 2>&1 || true
        podman volume rm --all --force >/dev/null 2>&1 || true
        ip netns delete "$NETNS"
    fi
}
