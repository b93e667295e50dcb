#!/usr/bin/env bash
# Instructions per exchange, counted by callgrind on the simulated network: exact, whatever the machine does.
#   scripts/icount.sh           prints the counts
#   scripts/icount.sh check     compares with bench/icount/baseline.txt: 2 % more fails, and so does 2 % less,
#                               so that the baseline stays near the truth
#   scripts/icount.sh update    writes the baseline
set -euo pipefail
cd "$(dirname "$0")/.."
baseline=bench/icount/baseline.txt
if ! command -v valgrind >/dev/null; then
    echo "valgrind is not installed: apt-get install valgrind" >&2
    exit 1
fi
cargo build --quiet --release -p icount
binary=${CARGO_TARGET_DIR:-target}/release/icount
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*I *refs: *//p' | tr -d ,
}
result=$(for scenario in get post; do
    few=$(count "$scenario" 1000)
    many=$(count "$scenario" 2000)
    echo "$scenario $(((many - few) / 1000))"
done)
case "${1:-print}" in
print) echo "$result" ;;
update) echo "$result" >"$baseline" && cat "$baseline" ;;
check)
    paste -d ' ' <(echo "$result") "$baseline" | while read -r scenario now _ before; do
        change=$(((now - before) * 1000 / before))
        echo "$scenario: $now instructions per exchange, baseline $before"
        if [ "${change#-}" -gt 20 ]; then
            echo "$scenario differs from its baseline by more than 2 %; if that is meant: scripts/icount.sh update" >&2
            exit 1
        fi
    done
    ;;
*) echo "usage: scripts/icount.sh [print|check|update]" >&2 && exit 2 ;;
esac
