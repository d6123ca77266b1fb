#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# app_echo_test.sh RUSM APP: run the application in a node and let its postman send to its echo and greeter.
set -euo pipefail
rusm=$1
app=$2
work=$(mktemp -d)
node=0
finish() {
    local code=$?
    [[ $node -eq 0 ]] || kill -KILL "$node" 2>/dev/null || true
    [[ $code -eq 0 ]] || cat "$work/log"
    rm -rf "$work"
}
trap finish EXIT

# await TEXT: until the log has it.
await() {
    local deadline=$((SECONDS + 20))
    until grep -qF -e "$1" "$work/log"; do
        [[ $SECONDS -lt $deadline ]] || {
            echo "the log does not say: $1"
            exit 1
        }
        sleep 0.05
    done
}

"$rusm" ca share demo --out "$work"
export RUSM_IDENTITY=$work/shared
"$rusm" node start --name london --load "$app" >"$work/log" 2>&1 &
node=$!
await "london ready at "
RUSM_AT=$(sed -n 's/^london ready at \(.*\), cluster demo$/\1/p' "$work/log")
export RUSM_AT

"$rusm" send postman "send london echo hello"
await "answers: hello"
"$rusm" send postman "global greeter.london the queen"
await "answers: london greets the queen"
"$rusm" send postman "spawn london worker make it loud"
await "answers: london worked on london: MAKE IT LOUD"
"$rusm" send postman "send tokyo echo hello"
await "RUSM_ENONODE"
"$rusm" ps

kill -TERM "$node"
wait "$node"
node=0
