#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo.sh [BUILD_DIR]: what `./dev demo` shows. Three nodes as three OS processes, joined with mutual certificates; a
# message, a global name, a remote spawn; an intruder; a crash; a short benchmark. Every step is checked by what the
# nodes themselves say, and the first that does not happen ends the demo with exit code 1. Everything is on loopback
# and in a temporary folder; nothing of it stays.
set -euo pipefail
build=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../build/release}")
rusm=$build/bin/rusm
app=$build/examples/app_echo.so
bench=$build/bench/cluster_fanout
for program in "$rusm" "$app" "$bench"; do
    [[ -x $program ]] || {
        echo "demo: $program is not built: ./dev build release" >&2
        exit 2
    }
done

bold="" green="" red="" dim="" plain=""
if [[ -t 1 && ${TERM:-dumb} != dumb && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
fi

work=$(mktemp -d)
cd "$work"
begun=$SECONDS
declare -A pid=() at=()
unset RUSM_AT RUSM_IDENTITY

finish() {
    local code=$? name
    trap - EXIT
    for name in "${!pid[@]}"; do
        kill -KILL "${pid[$name]}" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    if [[ $code -ne 0 ]]; then
        printf '%sthe demo failed%s; what the nodes said:\n' "$red" "$plain"
        for name in *.log; do
            [[ ! -e $name ]] || sed "s|^|  $name: |" "$name"
        done
    fi
    cd /
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- telling and checking

step() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
ok() { printf '  %sok%s  %s\n' "$green" "$plain" "$1"; }
fail() {
    printf '  %sFAILED%s  %s\n' "$red" "$plain" "$1"
    exit 1
}
indented() { sed 's/^/    /'; }

# run COMMAND...: `rusm COMMAND...`, shown with what it prints; leaves that in $out and its exit code in $code.
run() {
    printf '  %s$ rusm' "$dim"
    printf ' %s' "${@@Q}" | sed "s|'\\([A-Za-z0-9./:-]*\\)'|\\1|g" # quotes where they are needed
    printf '%s\n' "$plain"
    code=0
    out=$("$rusm" "$@" 2>&1) || code=$?
    [[ -z $out ]] || indented <<<"$out"
}

# must_run COMMAND...: the same, and it has to work.
must_run() {
    run "$@"
    [[ $code -eq 0 ]] || fail "exit code $code"
}

# await SECONDS WHAT COMMAND...: until COMMAND works.
await() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || fail "$what did not happen in time"
        sleep 0.05
    done
}

says() { grep -qE -e "$2" "$1.log"; }

# answered NODE PATTERN: the log of NODE has the line; show it.
answered() {
    await 10 "the answer at $1" says "$1" "$2"
    printf '    %s prints: %s\n' "$1" "$(grep -E -m 1 -e "$2" "$1.log")"
}

# ---- nodes

start() {
    local name=$1
    shift
    : >"$name.log" # so that it can be read before the node is there
    "$rusm" node start --identity "$name" --tick-ms 1000 --load "$app" "$@" >>"$name.log" 2>&1 &
    pid[$name]=$!
}

ready() {
    await 10 "the start of $1" says "$1" "^$1 ready at .*, cluster demo\$"
    at[$1]=$(sed -n "s/^$1 ready at \\(.*\\), cluster demo\$/\\1/p" "$1.log")
    printf '    %s\n' "$(grep -m 1 ' ready at ' "$1.log")"
}

# linked NODE N: NODE has links to N others, no more and no fewer.
linked() {
    [[ $("$rusm" peers --at "${at[$1]}" --json 2>/dev/null | grep -o '"incarnation"' | wc -l) -eq $2 ]]
}

# names_of NODE: the global names that it knows, one a line.
names_of() { "$rusm" names --at "${at[$1]}" 2>/dev/null | awk 'NR > 1 { print $1 }'; }
has_name() { names_of "$1" | grep -qxF "$2"; }
lost_name() {
    local names
    names=$(names_of "$1") && [[ -n $names ]] && ! grep -qxF "$2" <<<"$names"
}

stop() {
    local name=$1 code=0
    kill -TERM "${pid[$name]}"
    wait "${pid[$name]}" || code=$?
    unset "pid[$name]"
    [[ $code -eq 0 ]] || fail "$name ended with exit code $code"
    printf '    %s\n' "$(tail -n 1 "$name.log")"
}

# ---- the demo

step "1. A certificate authority, three nodes and an operator"
must_run ca init demo
for name in london tokyo paris; do
    must_run ca issue "$name"
done
must_run ca issue ann --role operator
export RUSM_IDENTITY=$work/ann
[[ $(stat -c %a london.key) == 600 ]] || fail "others may read the key of london"
ok "every node has a key and certificate of its own"

step "2. Three OS processes, joined over QUIC with certificates on both sides"
start london
ready london
start tokyo --connect "${at[london]}"
ready tokyo
start paris --connect "${at[london]}" --connect "${at[tokyo]}"
ready paris
for name in london tokyo paris; do
    await 10 "the links of $name" linked "$name" 2
done
must_run peers --at "${at[london]}"
ok "each is linked to the two others"

step "3. A message by node and name"
must_run send --at "${at[tokyo]}" postman "send london echo how do you do"
answered tokyo '^postman: <.*> answers: how do you do$'
ok "a process of tokyo sent to 'echo' of london and had its answer"

step "4. A global name, found from anywhere"
for name in london tokyo paris; do
    await 10 "the name at $name" has_name "$name" greeter.london
done
must_run whereis --at "${at[paris]}" greeter.london
[[ $out == "<london."*">" ]] || fail "greeter.london is not on london"
must_run send --at "${at[paris]}" postman "global greeter.london Marie"
answered paris '^postman: <.*> answers: london greets Marie$'
must_run names --at "${at[tokyo]}"
[[ $out == *greeter.paris* && $out == *greeter.tokyo* ]] || fail "names are missing"
ok "paris knew the name, not the node"

step "5. A process spawned on another node"
must_run send --at "${at[tokyo]}" postman "spawn paris worker build a tower"
answered tokyo '^postman: <.*> answers: tokyo worked on paris: BUILD A TOWER$'
must_run spawn --at "${at[london]}" worker ann
worker=$out
must_run ps --at "${at[london]}"
[[ $out == *"$worker"* ]] || fail "$worker is not among the processes of london"
must_run kill --at "${at[london]}" "$worker"
worker_gone() { [[ $("$rusm" ps --at "${at[london]}" 2>&1) != *"$worker"* ]]; }
await 10 "the end of $worker" worker_gone
ok "spawned, listed and killed from outside, by an operator's certificate"

step "6. An intruder with a certificate of another authority"
"$rusm" ca init demo --ca foreign >/dev/null
"$rusm" ca issue tokyo --ca foreign >/dev/null
"$rusm" ca issue ann --role operator --ca foreign >/dev/null
cat ca.pem >>foreign/ca.pem # it trusts us: then it is london that has to refuse
run ps --at "${at[london]}" --identity foreign/ann
[[ $code -eq 4 && $out == *refused* ]] || fail "exit code $code instead of 4 (refused)"
run node start --identity foreign/tokyo --connect "${at[london]}" --connect-timeout 5
[[ $code -eq 4 && $out == *refused* ]] || fail "exit code $code instead of 4 (refused)"
linked london 2 || fail "the links of london have changed"
ok "refused on both counts, although it claims the cluster 'demo' and the names 'ann' and 'tokyo'"

step "7. A node that is killed"
printf '  %s$ kill -9 %s%s\n' "$dim" "${pid[paris]}" "$plain"
since=${EPOCHREALTIME/[.,]/}
kill -KILL "${pid[paris]}"
wait "${pid[paris]}" 2>/dev/null || true
unset "pid[paris]"
for name in london tokyo; do
    await 10 "the withdrawal at $name" lost_name "$name" greeter.paris
    linked "$name" 1 || fail "$name is still linked to paris"
done
elapsed=$(((${EPOCHREALTIME/[.,]/} - since) / 1000))
must_run names --at "${at[tokyo]}"
run whereis --at "${at[london]}" greeter.paris
[[ $code -eq 5 ]] || fail "exit code $code instead of 5 (not found)"
ok "its names were gone everywhere after $elapsed ms (the nodes were started with --tick-ms 1000)"

step "8. Speed: one hub and four workers in one OS process, for two seconds"
"$bench" 2 | indented || fail "the benchmark failed"

step "9. A clean stop"
stop tokyo
stop london
ok "both ended with exit code 0"

printf '\n%sAll of it happened, in %d s.%s\n' "$bold" $((SECONDS - begun)) "$plain"
