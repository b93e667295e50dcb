#!/usr/bin/env bash
# The test command: everything that must hold before a change lands. On a machine with apt it installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }

step "tools"
missing=()
for tool in curl:curl valgrind:valgrind cc:gcc nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client node:nodejs; do
    command -v "${tool%%:*}" >/dev/null || [ -x "/usr/sbin/${tool%%:*}" ] || missing+=("${tool##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    else
        echo "missing: ${missing[*]}; the tests that need them will say so"
    fi
fi

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "unit tests, tidy, simulation"
cargo test --workspace --quiet --exclude ringway
cargo test --quiet --bin ringway --test tidy
SEEDS="${SEEDS:-5000}" cargo test --quiet --release --test sim --test alloc

for driver in io_uring epoll; do
    step "end to end on $driver"
    RINGWAY_TEST_DRIVER=$driver cargo test --quiet --test main
done

step "fuzz"
scripts/fuzz.sh "${FUZZ_SECONDS:-5}"

step "profile"
scripts/profile.sh check

step "instruction counts"
scripts/icount.sh check

step "done"
