#!/usr/bin/env bash
# Get Prometheus, Alertmanager, their command-line tools, two exporters, PostgreSQL and Redis for the tests, the demo and the
# benchmarks that need the real ones: what is installed, else from Debian's packages, unpacked into .tools/ (amd64 or
# arm64).  Needs no root and changes nothing outside this folder.  collectd, which takes Airflow's metrics, is
# got where it can be; the rest works without.
#
#   scripts/debian_tools.sh            print the folder to put on PATH; status 1 and the reason if there is no way
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A package_of=(
    [prometheus]=prometheus [promtool]=prometheus [prometheus-alertmanager]=prometheus-alertmanager [amtool]=prometheus-alertmanager
    [prometheus-node-exporter]=prometheus-node-exporter [prometheus-blackbox-exporter]=prometheus-blackbox-exporter
    [postgres]=postgresql [initdb]=postgresql [pg_dump]=postgresql [pg_restore]=postgresql [redis-server]=redis-server
)
tools=$PWD/.tools

say() { echo "debian_tools: $*" >&2; }

works() { "$1" --version >/dev/null 2>&1; }

# Debian calls it prometheus-alertmanager, everybody else alertmanager; .tools/bin holds the names that everybody uses.
plain_name() {
    case $1 in
    prometheus-alertmanager) echo alertmanager ;;
    prometheus-node-exporter) echo node_exporter ;;
    prometheus-blackbox-exporter) echo blackbox_exporter ;;
    *) echo "$1" ;;
    esac
}

# collectd has no option that only says its version; -h does, and ends with 0.
collectd_works() { "$1/collectd" -h >/dev/null 2>&1; }

complete() {
    local program
    for program in "${!package_of[@]}"; do
        works "$1/$(plain_name "$program")" || return 1
    done
}

# Debian keeps PostgreSQL's programs, of which there may be several versions, off PATH.
installed() {
    command -v "$(plain_name "$1")" || command -v "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" | sort -V | tail -1 | grep .
}

# apt with lists and a cache of its own: the machine's may be empty, locked or not ours to write.
apt() {
    apt-get -q -o Dir::State="$new/apt" -o Dir::State::Lists="$new/apt/lists" -o Dir::State::status=/var/lib/dpkg/status \
        -o Dir::Cache="$new/apt/cache" -o Debug::NoLocking=true -o APT::Sandbox::User="" -o Acquire::Retries=3 "$@"
}

# Debian's Alertmanager reads its templates from a folder of the system, which can't be set.  Here its place is that of
# an open file, under a name of the same length, and a small script opens the folder.
find_own_templates() {
    local program="$new/root/usr/bin/prometheus-alertmanager"
    LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager#/proc/self/fd//9/././././././././.#g' "$program"
    rm "$new/bin/alertmanager"
    cat >"$new/bin/alertmanager" <<'SCRIPT'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root
exec 9<"$root/usr/share/prometheus/alertmanager"
exec "$root/usr/bin/prometheus-alertmanager" "$@"
SCRIPT
    chmod +x "$new/bin/alertmanager"
}

# One that was unpacked finds its libraries beside it; installed ones have theirs.
link_unpacked() {
    local program=$1 found
    found=$(cd "$new/root" && find . -path "*/bin/$program" -o -path "*/sbin/$program")
    cat >"$new/bin/$(plain_name "$program")" <<SCRIPT
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/../root
LD_LIBRARY_PATH=\$root/usr/lib/$triplet:\$root/lib/$triplet\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec "\$root/$found" "\$@"
SCRIPT
    chmod +x "$new/bin/$(plain_name "$program")"
}

# collectd, with the libraries that its plugins need and nothing else here does; their names change with Debian's versions.
collectd_from_debian() {
    local name package
    for name in collectd-core libmicrohttpd12 libmicrohttpd12t64 libprotobuf-c1; do
        apt install -y --download-only --no-install-recommends "$name" >>"$new/log" 2>&1 || true
    done
    for package in "$new"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$new/root"
    done
    if [[ -e $new/root/usr/sbin/collectd ]]; then
        link_unpacked collectd
    fi
    if ! collectd_works "$new/bin"; then
        say "no collectd: Airflow's own metrics are left out"
        rm -f "$new/bin/collectd"
    fi
}

from_debian() { # of these programs
    local architecture package program
    local -a packages
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "not installed: $*; and there is no apt-get with dpkg-deb to get Debian's packages"
        return 1
    fi
    architecture=$(dpkg --print-architecture)
    case $architecture in
    amd64) triplet=x86_64-linux-gnu ;;
    arm64) triplet=aarch64-linux-gnu ;;
    *)
        say "no packages are fetched for $architecture, only for amd64 and arm64"
        return 1
        ;;
    esac
    mapfile -t packages < <(for program in "$@"; do echo "${package_of[$program]}"; done | sort -u)
    mkdir -p "$new"/apt/{lists,cache/archives}/partial "$new/root"
    if ! apt update >"$new/log" 2>&1 || ! apt install -y --download-only --no-install-recommends "${packages[@]}" >>"$new/log" 2>&1; then
        say "Debian's packages can't be fetched: $(grep -m1 '^[EW]:' "$new/log" || tail -1 "$new/log")"
        return 1
    fi
    for package in "$new"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$new/root"
        echo "$(dpkg-deb -f "$package" Package) $(dpkg-deb -f "$package" Version)" >>"$new/all"
    done
    grep -E "^($(IFS='|' && echo "${packages[*]}")) " "$new/all" >"$new/versions"
    for program in "$@"; do
        link_unpacked "$program"
    done
    command -v collectd >/dev/null || collectd_from_debian
    rm -rf "$new/apt" "$new/log" "$new/all"
    [[ -e $new/root/usr/bin/prometheus-alertmanager ]] && find_own_templates
}

if complete "$tools/bin" && [[ -e $tools/bin/collectd || -e $tools/without-collectd ]]; then
    echo "$tools/bin"
    exit 0
fi
new=$(mktemp -d "$PWD/.tools.XXXXXX")
trap 'rm -rf "$new"' EXIT
chmod 755 "$new" # PostgreSQL runs as nobody where the tests run as root
mkdir "$new/bin"
missing=()
for program in "${!package_of[@]}"; do
    if found=$(installed "$program"); then
        ln -s "$found" "$new/bin/$(plain_name "$program")"
    else
        missing+=("$program")
    fi
done
if [[ ${#missing[@]} -gt 0 ]]; then
    from_debian "${missing[@]}"
fi
if ! complete "$new/bin"; then
    say "these programs don't run here: $(for program in "${!package_of[@]}"; do works "$new/bin/$(plain_name "$program")" || echo -n "$program "; done)"
    exit 1
fi
if found=$(command -v collectd); then
    ln -s "$found" "$new/bin/collectd"
fi
[[ -e $new/bin/collectd ]] || touch "$new/without-collectd" # do not look for it each time
rm -rf "$tools" # what is left of an interrupted or outdated one
mv "$new" "$tools"
trap - EXIT
[[ -f $tools/versions ]] && sed 's/^/debian_tools: /' "$tools/versions" >&2
echo "$tools/bin"
