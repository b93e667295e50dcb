#!/usr/bin/env bash
# Runs every fuzz target for some seconds each: scripts/fuzz.sh SECONDS [TARGET..]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-5}
shift || true
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --quiet --locked cargo-fuzz
fi
# cargo-fuzz needs the sanitizer flags of a nightly compiler; the stable one takes them with this.
export RUSTC_BOOTSTRAP=1
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
for target in "${targets[@]}"; do
    echo "fuzz $target for $seconds s"
    log=$(mktemp)
    # New inputs go to the first folder, which stays here; the second one is committed.
    corpus=("tests/fuzz/corpus/$target")
    mkdir -p "${corpus[0]}"
    [ ! -d "tests/fuzz/seeds/$target" ] || corpus+=("tests/fuzz/seeds/$target")
    if ! cargo fuzz run --fuzz-dir tests/fuzz "$target" "${corpus[@]}" -- -max_total_time="$seconds" -max_len=16384 >"$log" 2>&1; then
        tail -50 "$log"
        exit 1
    fi
    grep -E "^Done|DONE" "$log" || true
done
