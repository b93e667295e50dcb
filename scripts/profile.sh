#!/usr/bin/env bash
# The profile by which optimised builds are laid out (docs/decisions/0017-a-profile-for-the-layout.md): builds a gateway
# that counts, sends plain HTTP/1.1 through it on both drivers, and collects the counts.
#   scripts/profile.sh update   writes bench/profile
#   scripts/profile.sh check    fails if the profile no longer fits the code
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
update | check) ;;
*) echo "usage: scripts/profile.sh update|check" >&2 && exit 2 ;;
esac

for tool in curl wrk h2load; do
    command -v $tool >/dev/null || { echo "$tool is missing: apt-get install curl wrk nghttp2-client" >&2 && exit 1; }
done
committed=bench/profile/rustc-$(rustc -vV | sed -n 's/^release: //p').profdata
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
if [ ! -x "$profdata" ] && ! rustup component add llvm-tools; then
    echo "llvm-profdata is missing (rustup component add llvm-tools): nothing is checked or made" >&2
    [ "$1" = check ] || exit 1
    [ -z "${RINGWAY_SKIPPED-}" ] || echo "profile: llvm-profdata is missing" >>"$RINGWAY_SKIPPED"
    exit 0
fi

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

target=${CARGO_TARGET_DIR:-target}/profile
RINGWAY_PROFILE=count CARGO_TARGET_DIR=$target cargo build --quiet --release
ringway=$target/release/ringway
# A process writes its counts when it ends.
export LLVM_PROFILE_FILE=$work/counts/%p.profraw

# start NAME ARGS..: starts the program and sets `address` to where it listens.
start() {
    local log=$work/$1.log
    shift
    "$ringway" "$@" >"$log" 2>&1 &
    for _ in $(seq 100); do
        address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$log")
        [ -z "$address" ] || return 0
        sleep 0.1
    done
    cat "$log" >&2
    exit 1
}

start endpoint bench endpoint --address 127.0.0.1:0
cat >"$work/ringway.toml" <<END
version = 1
[admin]
address = "off"
[listeners.web]
address = "127.0.0.1:0"
[upstreams.app]
endpoints = ["$address"]
[routes.api]
match = { hosts = ["api.example.com"], path_prefix = "/v1/" }
upstream = "app"
[routes.all]
match = { path_prefix = "/" }
upstream = "app"
END

# The head of a browser, beside the few lines of a load generator.
browser=(
    -H 'Host: api.example.com' -H 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8'
    -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
    -H 'Accept-Language: en-GB,en;q=0.9,de;q=0.8' -H 'Accept-Encoding: gzip, deflate, br, zstd' -H 'Connection: keep-alive'
    -H 'Referer: http://api.example.com/v1/items' -H 'Cookie: session=0123456789abcdef0123456789abcdef; theme=dark'
    -H 'Cache-Control: no-cache' -H 'Sec-Fetch-Mode: navigate' -H 'Upgrade-Insecure-Requests: 1' -H 'Priority: u=0, i'
)
for driver in io_uring epoll; do
    start $driver run -c "$work/ringway.toml" --cores 1 --driver $driver
    running=$!
    for connections in 1 64 512; do
        wrk -t1 -c$connections -d2s "http://$address/1k"
        wrk -t1 -c$connections -d2s "${browser[@]}" "http://$address/v1/items?page=2"
    done
    wrk -t1 -c16 -d2s "http://$address/64k"
    wrk -t1 -c64 -d2s -s bench/wrk/post.lua "http://$address/1k"
    wrk -t1 -c64 -d2s -s bench/wrk/close.lua "http://$address/1k"
    # Below saturation.
    h2load --h1 -t1 -c64 -D2s --rps=100 "http://$address/1k"
    kill $running
    wait $running
done >"$work/loads"
kill %1
wait %1

# Sparse: functions that the load did not reach are not in it, and are built as without a profile.
"$profdata" merge --sparse -o "$work/new.profdata" "$work/counts"
case "$1" in
update)
    rm -rf bench/profile
    mkdir bench/profile
    mv "$work/new.profdata" "$committed"
    ls -l "$committed"
    ;;
check)
    [ -f "$committed" ] || { echo "there is no $committed: scripts/profile.sh update" >&2 && exit 1; }
    overlap=$("$profdata" overlap "$committed" "$work/new.profdata" | sed -n 's/.*Edge profile overlap: \([0-9]*\).*/\1/p')
    echo "the code of today and $committed: $overlap % alike"
    if [ "${overlap:-0}" -lt 90 ]; then
        echo "less than 90 %: scripts/profile.sh update" >&2
        exit 1
    fi
    ;;
esac
