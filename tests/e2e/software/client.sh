#!/usr/bin/env bash
# A client by curl: `client.sh URL BYTES get|all`. Prints ok.
set -euo pipefail
url=$1 size=$2 what=$3
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# Bytes i % 251.
pattern() { head -c "$1" < <(while cat "$folder/block"; do :; done 2>/dev/null) || true; }
for i in $(seq 0 250); do printf "\\x$(printf %x "$i")"; done >"$folder/251"
for _ in $(seq 256); do cat "$folder/251"; done >"$folder/block"
pattern "$size" >"$folder/body"
pattern 1000 >"$folder/small"
sha() { sha256sum | cut -d' ' -f1; }
whole=$(sha <"$folder/body")

for _ in $(seq 10); do curl -sSf "$url/bytes/1000" | cmp - "$folder/small"; done
curl -sSf "$url/bytes/$size" | cmp - "$folder/body"
if [ "$what" = all ]; then
    curl -sSf "$url/stream/$size" | cmp - "$folder/body"
    [ "$(curl -sSf -X POST --data-binary "@$folder/body" "$url/sha")" = "$whole" ]
    [ "$(curl -sSf -X POST -T - "$url/sha" <"$folder/body")" = "$whole" ]
    [ "$(curl -sSf -0 "$url/bytes/1000" | sha)" = "$(sha <"$folder/small")" ]
fi
echo ok
