#!/usr/bin/env bash
# Get Prometheus, Alertmanager, their command-line tools and two exporters for the tests, the demo and the benchmarks that need the
# real ones: what is on PATH, else from Debian's packages, unpacked into .tools/ (amd64 or arm64).  Needs no root and
# changes nothing outside this folder.  collectd, which takes Airflow's metrics, is got where it can be; the rest works without.
#
#   scripts/debian_tools.sh            print the folder to put on PATH; status 1 and the reason if there is no way
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(prometheus prometheus-alertmanager prometheus-node-exporter prometheus-blackbox-exporter)
programs=(prometheus promtool prometheus-alertmanager amtool prometheus-node-exporter prometheus-blackbox-exporter)
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
    for program in "${programs[@]}"; do
        works "$1/$(plain_name "$program")" || return 1
    done
}

from_path() {
    local program plain found
    mkdir -p "$new/bin"
    for program in "${programs[@]}"; do
        plain=$(plain_name "$program")
        found=$(command -v "$plain" || command -v "$program") || return 1
        ln -s "$found" "$new/bin/$plain"
    done
    complete "$new/bin" || return 1
    found=$(command -v collectd || true)
    [[ -z $found ]] || ln -s "$found" "$new/bin/collectd"
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

# collectd, with the libraries that its plugins need and nothing else here does; their names change with Debian's versions.
collectd_from_debian() {
    local name package
    for name in collectd-core libmicrohttpd12 libmicrohttpd12t64 libprotobuf-c1; do
        (cd "$new/apt" && apt download "$name") >>"$new/log" 2>&1 || true
    done
    for package in "$new"/apt/{collectd-core,libmicrohttpd12,libprotobuf-c1}*.deb; do
        [[ ! -e $package ]] || dpkg-deb -x "$package" "$new/root"
    done
    cat >"$new/bin/collectd" <<'SCRIPT'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root
for folder in "$root"/usr/lib/*-linux-gnu; do
    LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
exec "$root/usr/sbin/collectd" "$@"
SCRIPT
    chmod +x "$new/bin/collectd"
    if ! collectd_works "$new/bin"; then
        say "no collectd: Airflow's own metrics are left out"
        rm "$new/bin/collectd"
    fi
}

from_debian() {
    local architecture package program
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "neither Prometheus and Alertmanager on PATH, nor apt-get and dpkg-deb to get Debian's packages"
        return 1
    fi
    architecture=$(dpkg --print-architecture)
    if [[ $architecture != amd64 && $architecture != arm64 ]]; then
        say "no packages are fetched for $architecture, only for amd64 and arm64"
        return 1
    fi
    mkdir -p "$new"/apt/{lists,cache/archives}/partial "$new/root" "$new/bin"
    if ! apt update >"$new/log" 2>&1 || ! (cd "$new/apt" && apt download "${packages[@]}") >>"$new/log" 2>&1; then
        say "Debian's packages can't be fetched: $(grep -m1 '^[EW]:' "$new/log" || tail -1 "$new/log")"
        return 1
    fi
    for package in "$new"/apt/*.deb; do
        dpkg-deb -x "$package" "$new/root"
        dpkg-deb -f "$package" Package Version | tr '\n' ' ' >>"$new/versions"
        echo >>"$new/versions"
    done
    for program in "${programs[@]}"; do
        ln -s "../root/usr/bin/$program" "$new/bin/$(plain_name "$program")"
    done
    collectd_from_debian
    rm -rf "$new/apt" "$new/log"
    find_own_templates
    if ! complete "$new/bin"; then
        say "the programs of Debian's packages don't run here"
        return 1
    fi
}

if complete "$tools/bin" && [[ -e $tools/bin/collectd || -e $tools/without-collectd ]]; then
    echo "$tools/bin"
    exit 0
fi
new=$(mktemp -d "$PWD/.tools.XXXXXX")
trap 'rm -rf "$new"' EXIT
if ! from_path; then
    rm -rf "${new:?}"/*
    from_debian
fi
[[ -e $new/bin/collectd ]] || touch "$new/without-collectd" # do not look for it each time
rm -rf "$tools" # what is left of an interrupted or outdated one
mv "$new" "$tools"
trap - EXIT
[[ -f $tools/versions ]] && sed 's/^/debian_tools: /' "$tools/versions" >&2
echo "$tools/bin"
