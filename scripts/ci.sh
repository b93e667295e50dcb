#!/usr/bin/env bash
# The test command: everything that must hold before a change lands.
#
# Needed: Linux, rustup (https://rustup.rs), which takes the compiler that rust-toolchain.toml names, and the network for
# what is missing. As root on a machine with apt this installs all else; elsewhere it says what is missing.
# It takes 10 to 20 minutes on two CPUs from a clean clone. Parts can be made longer: SEEDS=100000 FUZZ_SECONDS=60.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }

step "tools"
if ! command -v rustup >/dev/null; then
    echo "rustup is not installed, or not in PATH: see https://rustup.rs" >&2
    exit 1
fi
# A program, and the Debian package that has it.
programs=(curl:curl cc:gcc c++:g++ valgrind:valgrind wrk:wrk h2load:nghttp2-client node:nodejs python3:python3
    nginx:nginx haproxy:haproxy gunicorn:gunicorn go:golang-go java:default-jdk-headless)
# A module of Python, and the Debian package that has it.
modules=(requests:python3-requests httpx:python3-httpx aiohttp:python3-aiohttp uvicorn:python3-uvicorn
    websockets:python3-websockets)
missing=()
for program in "${programs[@]}"; do
    command -v "${program%:*}" >/dev/null || [ -x "/usr/sbin/${program%:*}" ] || missing+=("${program#*:}")
done
for module in "${modules[@]}"; do
    python3 -c "import ${module%:*}" 2>/dev/null || missing+=("${module#*:}")
done
node -e "require('ws')" 2>/dev/null || missing+=(node-ws)
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "missing: ${missing[*]}; the tests that need them are skipped"
    fi
fi
rustup show active-toolchain || rustup toolchain install

# The tests write a line here for each part that they skip; it is said at the end, also when something fails.
RINGWAY_SKIPPED=$(mktemp)
export RINGWAY_SKIPPED
say_skipped() {
    count=$(sort -u "$RINGWAY_SKIPPED" | wc -l)
    if [ "$count" -gt 0 ]; then
        printf '\n%s parts of tests were skipped, each as often as the number says:\n' "$count"
        sort "$RINGWAY_SKIPPED" | uniq -c
    fi
    rm -f "$RINGWAY_SKIPPED"
}
trap say_skipped EXIT

step "format"
cargo fmt --all --check
# A macro declares the modules of filters, so cargo does not find them.
rustfmt --edition 2024 --check src/engine/filter/*.rs

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

step "done: everything that ran has passed"
