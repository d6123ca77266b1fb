#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# cli_test.sh BUILD_DIR CLI_APP: the real command against real nodes on loopback. Every subcommand, its JSON, its exit
# codes; who is refused, and what an observer may not do. The applications are examples/app_echo.c and
# test/support/cli_app.c.
set -euo pipefail
rusm=$1/bin/rusm
app=$1/examples/app_echo.so
cli_app=$2
work=$(mktemp -d)
declare -A node=()
unset RUSM_AT RUSM_IDENTITY

finish() {
    local code=$? name
    trap - EXIT
    for name in "${!node[@]}"; do
        kill -KILL "${node[$name]}" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    if [[ $code -ne 0 ]]; then
        for name in "$work"/*.log; do
            [[ ! -e $name ]] || sed "s|^|${name##*/}: |" "$name"
        done
    fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

# ---- checks

fail() {
    printf 'line %s: %s\n' "${BASH_LINENO[1]}" "$1"
    printf 'standard output: %s\nstandard error: %s\n' "$out" "$err"
    exit 1
}

# run CODE ARGS...: `rusm ARGS...` ends with CODE; leaves what it printed in $out and $err.
run() {
    local expected=$1 code=0
    shift
    out="" err=""
    "$rusm" "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    out=$(<"$work/out")
    err=$(<"$work/err")
    [[ $code -eq $expected ]] || fail "rusm $*: exit code $code instead of $expected"
    # What failed says why, in one line; what worked says nothing there.
    if [[ $expected -eq 0 ]]; then
        [[ -z $err ]] || fail "rusm $*: it worked and complained"
    fi
}

# says PATTERN / complains PATTERN: standard output / error of the last run matches (glob).
says() {
    # shellcheck disable=SC2053
    [[ $out == $1 ]] || fail "it does not print $1"
}
complains() {
    # shellcheck disable=SC2053
    [[ $err == $1 ]] || fail "it does not complain with $1"
}

# json EXPRESSION: the last output is one JSON document d, and the Python expression holds for it.
json() {
    python3 -m json.tool "$work/out" >/dev/null || fail "it is no JSON"
    python3 -c "import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(not ($1))" "$work/out" || fail "it is not so: $1"
}

await() {
    local deadline=$((SECONDS + 30))
    out="" err=""
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || fail "in 30 s it did not happen: $*"
        sleep 0.05
    done
}

# start NAME ARGS...: a node in the background; its real address in $address once it is ready.
start() {
    local name=$1
    shift
    rm -f "$work/$name.ready"
    "$rusm" node start --identity "$work/pki/$name" "$@" --ready-fd 3 3>"$work/$name.ready" >"$work/$name.log" 2>&1 &
    node[$name]=$!
    await test -s "$work/$name.ready"
    address=$(<"$work/$name.ready")
}

# stop NAME SIGNAL: the node ends with exit code 0.
stop() {
    local code=0
    kill "-$2" "${node[$1]}"
    wait "${node[$1]}" || code=$?
    unset "node[$1]"
    out="" err=""
    [[ $code -eq 0 ]] || fail "$1 ended with exit code $code"
}

# ---- the command line

echo "usage"
run 2
complains 'usage: rusm <command>*'
run 0 --help
says 'usage: rusm <command>*node start*'
run 0 help
run 0 --version
says 'rusm [0-9]*'
version=$out
run 0 version
[[ $out == "$version" ]] || fail "two versions"
for command in "ca init" "ca issue" "ca share" "ca show" "ca list" "ca revoke" "ca crl" "node start" "node reload" ps peers names groups whereis send spawn kill version help; do
    # shellcheck disable=SC2086
    run 0 $command --help
    says "usage: rusm $command \[options\]*options:*--help*"
    text=$out
    # shellcheck disable=SC2086
    run 0 help $command
    [[ $out == "$text" ]] || fail "help and --help differ"
done
run 0 ca --help
says 'usage:*ca init*ca show*'
run 2 nonsense
complains "rusm: there is no command 'nonsense'; see 'rusm help'"
run 2 ca
run 2 ps --nonsense
complains "rusm: ps: unknown option '--nonsense'; see 'rusm help ps'"
run 2 ps
complains "rusm: ps: it needs --at ADDRESS, or \$RUSM_AT*"
run 2 whereis --at 127.0.0.1:1 --identity x
complains "rusm: whereis: it needs NAME*"

# ---- certificates

echo "certificates"
run 0 ca init demo --ca "$work/ca" --days 30
says 'CA of cluster demo, until 20*'
run 1 ca init demo --ca "$work/ca"
complains '*ca.key: it exists and is never overwritten'
for name in london tokyo; do
    run 0 ca issue "$name" --ca "$work/ca" --out "$work/pki"
    says "member $name of cluster demo, until *"
done
run 0 ca issue ann --role operator --days 7 --ca "$work/ca" --out "$work/pki" --json
json 'd["kind"] == "identity" and d["node"] == "ann" and d["role"] == "operator" and d["cluster"] == "demo"'
json 'd["file"].endswith("/pki/ann.pem") and 6 * 86400 < d["not_after"] - __import__("time").time() <= 7 * 86400'
run 0 ca issue eve --role observer --ca "$work/ca" --out "$work/pki" --file watcher
[[ $(stat -c %a "$work/pki/watcher.key") == 600 ]] || fail "others may read a key"
run 1 ca issue london --ca "$work/ca" --out "$work/pki"
run 1 ca issue late --days 400 --ca "$work/ca" --out "$work/pki"
complains '*cannot outlive its CA*'
[[ ! -e $work/pki/late.key ]] || fail "something was written"
run 1 ca issue x --ca "$work/nowhere"
complains '*nowhere/ca.pem: cannot open it: No such file or directory'
run 2 ca issue x --role king
run 0 ca show "$work/pki"
says '*node         ann*role         operator*certificate authority*'
run 0 ca show "$work/ca/ca.pem" "$work/pki" --json
json 'len(d) == 6 and d[0]["kind"] == "ca" and d[0]["role"] is None and d[0]["node"] is None'
run 0 ca show "$work/pki/watcher.pem" --json
json 'len(d) == 1 and d[0]["node"] == "eve" and len(d[0]["fingerprint"]) == 64'
run 1 ca show "$work/pki/ann.key"
run 5 ca show "$work"
run 0 ca share tiny --out "$work/tiny"
run 0 ca show "$work/tiny/shared.pem" --json
json 'd[0]["shared"] and d[0]["cluster"] == "tiny"'

echo "revocation"
run 0 ca list --ca "$work/ca" --json
json '[c["node"] for c in d].count("ann") == 1 and all(c["revoked_at"] == 0 and c["reason"] is None for c in d)'
run 0 ca issue lima --ca "$work/ca" --out "$work/pki"
run 0 ca revoke lima --ca "$work/ca" --reason key-compromise --json
json 'd == {"cluster": "demo", "what": "lima", "revoked": 1}'
run 0 ca revoke lima --ca "$work/ca"
says 'nothing to revoke*'
run 0 ca revoke 41:00:ff --ca "$work/ca"
says '1 revoked; next: rusm ca crl --ca *'
run 5 ca revoke nobody --ca "$work/ca"
complains '*knows no certificate of node "nobody"'
run 2 ca revoke lima --ca "$work/ca" --reason boredom
complains 'rusm: --reason: *not "boredom"'
run 1 ca revoke lima --ca "$work/nowhere"
run 0 ca list --ca "$work/ca"
says '*NODE *ROLE *UNTIL *REVOKED *REASON *SERIAL*lima *member *key-compromise*unspecified *4100ff*'
run 0 ca crl --ca "$work/ca"
says 'revocation list 1 of cluster demo, 2 revoked, next due 20*/ca/crl.pem'
run 0 ca crl --ca "$work/ca" --out "$work/lists.pem" --days 2 --json
json 'd["number"] == 2 and d["revoked"] == 2 and d["next_update"] - d["this_update"] == 2 * 86400'
run 0 ca show "$work/lists.pem" --json
json 'd[0]["kind"] == "crl" and d[0]["number"] == 2 and d[0]["cluster"] == "demo"'
run 0 ca show "$work/ca"
says '*certificate authority*revocation list 1*'
run 1 ca crl --ca "$work/ca" --out "$work/nowhere/crl.pem"
complains '*nowhere: cannot open the folder: No such file or directory'

# ---- nodes that do not start

echo "nodes that do not start"
run 2 node start
complains '*it needs --identity*'
run 4 node start --identity "$work/pki/london" --name paris
complains 'rusm: the certificate is for node london, not for paris'
run 4 node start --identity "$work/pki/ann"
complains "rusm: ann is an operator: a node needs a member's certificate"
run 1 node start --identity "$work/pki/nobody"
run 1 node start --identity "$work/pki/london" --listen nonsense
run 1 node start --identity "$work/pki/london" --load "$work/nothing.so"
complains 'rusm: --load: *nothing.so*'
run 1 node start --identity "$work/pki/london" --load "$1/src/librusm-otp.so"
complains 'rusm: --load: *librusm-otp.so has no function rusm_app_main*'
run 1 node start --identity "$work/tiny/shared" --name nowhere --load "$app" --load "$cli_app"
says 'nowhere runs echo 1.0'
complains 'rusm: cli_app did not start: it has no place there'
run 3 node start --identity "$work/pki/london" --connect 127.0.0.1:1 --connect-timeout 0.3
says 'london ready at 127.0.0.1:*'
complains '*cannot link to 127.0.0.1:1: *'
run 2 node start --identity "$work/pki/london" --connect nonsense

# ---- a running cluster

echo "a running cluster"
start london --load "$app" --load "$cli_app"
london=$address
run 1 node start --identity "$work/pki/tokyo" --listen "$london"
complains '*Address already in use*'
start tokyo --load "$app" --connect "$london" --json
tokyo=$address
export RUSM_AT=$london RUSM_IDENTITY=$work/pki/ann
linked() { [[ $("$rusm" peers --json 2>/dev/null) == *'"name":"tokyo"'* ]]; }
await linked
grep -q '^{"node":"tokyo","address":"127.0.0.1:[0-9]*","cluster":"demo","os_pid":[0-9]*}$' "$work/tokyo.log"
grep -q "^tokyo linked to london at $london\$" "$work/tokyo.log"

run 0 ps
says 'PID *NAME *LABEL *STATE *MAILBOX *REDUCTIONS *MEMORY*<london.*>*echo*echo*receiving*'
run 0 ps --json
json 'sorted(p["name"] for p in d if p["name"]) == ["echo", "greeter", "postman"]'
json 'all(p["pid"].startswith("<london.") and p["memory_bytes"] > 0 for p in d)'
run 0 peers
says 'NODE *LINK *RTT*tokyo *from 127.0.0.1:*'
run 0 peers --json
json 'len(d) == 1 and d[0]["role"] == "member" and not d[0]["dialed"] and d[0]["up_ms"] >= 0'
run 0 peers --json --at "$tokyo"
json 'len(d) == 1 and d[0]["name"] == "london" and d[0]["dialed"] and d[0]["address"] == "'"$london"'"'
run 0 names
says 'NAME *NODE *PID*greeter.london *london *<london.*'
run 0 names --json
json '{n["name"]: n["node"] for n in d} == {"greeter.london": "london", "greeter.tokyo": "tokyo"}'
run 0 groups
says 'GROUP *MEMBERS *LOCAL*cli *1 *1*'
run 0 groups --json --at "$tokyo"
json 'd == [{"name": "cli", "members": 1, "local": 0}]'

echo "a node that waits for another"
# An address of its own, which nothing else on this machine takes in the meantime.
dock=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1)):${london##*:}
for name in oslo rome; do
    run 0 ca issue "$name" --ca "$work/ca" --out "$work/pki"
done
start oslo --connect "$dock"
await grep -q "no link to $dock yet" "$work/oslo.log"
start rome --listen "$dock"
await grep -q "^oslo linked to rome at $dock\$" "$work/oslo.log"
run 0 peers --at "$dock" --json
json 'len(d) == 1 and d[0]["name"] == "oslo"'
stop oslo TERM
stop rome TERM

echo "a node that joins through a file"
printf '# members\n%s\n' "$london" >"$work/members"
start oslo --join "file:$work/members" --advertise 127.0.0.1:0
meshed() {
    [[ $("$rusm" peers --at "$address" --json 2>/dev/null) == *'"name":"london"'*'"name":"tokyo"'* ||
        $("$rusm" peers --at "$address" --json 2>/dev/null) == *'"name":"tokyo"'*'"name":"london"'* ]]
}
await meshed
run 0 peers --at "$address" --json
json '{p["name"]: p["listen"] for p in d} == {"london": "'"$london"'", "tokyo": "'"$tokyo"'"}'
stop oslo TERM
start oslo --join "$london,127.0.0.1:1" --no-mesh
await grep -q '^rusm: no link to 127.0.0.1:1 yet: .*nothing listens at 127.0.0.1:1' "$work/oslo.log"
only_london() { [[ $("$rusm" peers --at "$address" --json 2>/dev/null) == *'"name":"london"'* ]]; }
await only_london
run 0 peers --at "$address" --json
json 'len(d) == 1'
stop oslo TERM
await grep -q '^tokyo node-down oslo: left the cluster$' "$work/tokyo.log"
grep -q '^london node-up oslo$' "$work/london.log"
run 1 node start --identity "$work/pki/oslo" --join nonsense
complains 'rusm: --join nonsense: nonsense is no numeric address *'
run 1 node start --identity "$work/pki/oslo" --advertise nonsense
complains 'rusm: nonsense can not be advertised: *'

echo "whereis and send"
run 0 whereis echo
says '<london.*>'
echo_pid=$out
run 0 whereis greeter.tokyo
says '<tokyo.*>'
run 0 whereis greeter.tokyo --json
json 'd["name"] == "greeter.tokyo" and d["pid"].startswith("<tokyo.")'
run 5 whereis nobody
complains 'rusm: *nobody*'
run 0 send echo hello
says ''
run 0 send "$echo_pid" hello --json
json 'd == {"pid": "'"$echo_pid"'", "bytes": 5}'
"$rusm" send --json -- postman - <<<"send tokyo echo over the wire" >"$work/out"
json 'd["bytes"] == 30'
await grep -q '^postman: <tokyo\.[0-9]*> answers: over the wire$' "$work/london.log"
run 5 send nobody hello
run 5 send greeter.tokyo hello
complains 'rusm: greeter.tokyo is a global name of <tokyo.*>, no process of node london: ask its own node'
run 5 send '<paris.1>' hello
run 2 send '<london.x>' hello
complains "rusm: '<london.x>' is no pid: *"

echo "spawn and kill"
run 0 spawn worker "a title"
says '<london.*>'
worker=$out
run 0 ps
says "*$worker*worker*"
run 0 kill "$worker"
says ''
gone() { [[ $("$rusm" ps) != *"$worker"* ]]; }
await gone
run 5 kill "$worker"
run 0 spawn worker --json
json 'd["factory"] == "worker" and d["pid"].startswith("<london.")'
one=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$work/out")
run 0 spawn worker
two=$out
run 5 kill --json "${one//[<>]/}" "<tokyo.1>" "$two"
json "d == {'killed': ['$one', '$two']}"
complains 'rusm: <tokyo.1> is no process of node london*'
run 5 spawn nothing
complains 'rusm: node london has no factory nothing'
run 1 spawn broken
complains 'rusm: *it is always broken*'
run 2 kill 42

echo "a list of many pages"
run 0 spawn crowd 2000 --timeout 30
run 0 ps --json
json 'sum(p["label"] == "crowd" for p in d) == 2000 and len({p["pid"] for p in d}) == len(d)'
run 0 ps
[[ $(grep -c ' crowd ' <<<"$out") -eq 2000 && $(grep -c '^PID ' <<<"$out") -eq 1 ]] || fail "not all are in the table"
spawners=()
for _ in {1..20}; do
    "$rusm" spawn worker - </dev/null >/dev/null &
    spawners+=($!)
done
for spawner in "${spawners[@]}"; do
    wait "$spawner"
done

echo "an answer that does not come in time"
run 6 spawn nap 5000 --timeout 0.2
complains 'rusm: *london* did not answer in time'

# ---- who may do what

echo "roles"
export RUSM_IDENTITY=$work/pki/watcher
run 0 ps
run 0 peers --json
run 0 names
run 0 whereis echo
run 4 kill "$echo_pid"
complains 'rusm: *observer*'
run 4 spawn worker
run 4 send echo hello
export RUSM_IDENTITY=$work/pki/ann
run 0 whereis echo
[[ $out == "$echo_pid" ]] || fail "echo did not survive the observer"

echo "strangers"
run 0 ca init demo --ca "$work/foreign"
run 0 ca issue ann --role operator --ca "$work/foreign"
run 4 ps --identity "$work/foreign/ann"
complains '*not issued by the CA of cluster "demo"*'
# One that trusts the cluster, but is not trusted by it: now the node refuses.
cat "$work/ca/ca.pem" >>"$work/foreign/ca.pem"
run 4 ps --identity "$work/foreign/ann"
complains 'rusm: *refused us*'
run 4 ps --identity "$work/tiny/shared"
run 4 ps --identity "$work/pki/london"
run 2 ps --identity "$work/pki"
run 1 ps --identity "$work/pki/nobody"
run 0 ps

echo "nobody there"
run 3 ps --at 127.0.0.1:1 --timeout 0.3
complains 'rusm: cannot connect to 127.0.0.1:1: *'
run 2 ps --at nowhere:99
complains 'rusm: --at: *'
python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)' >"$work/silent" &
node[silent]=$!
await test -s "$work/silent"
run 3 ps --at "127.0.0.1:$(<"$work/silent")" --timeout 0.3

# ---- the end

echo "ends"
kill -KILL "${node[silent]}"
wait "${node[silent]}" 2>/dev/null || true
unset "node[silent]"
stop tokyo TERM
unlinked() { [[ $("$rusm" peers --json) == "[]" ]]; }
await unlinked
run 5 whereis greeter.tokyo
stop london INT
tail -n 2 "$work/london.log" >"$work/out"
printf 'london stops: Interrupt\ncli_app stopped: it had a state\n' | cmp -s - "$work/out" || fail "the log ends otherwise"
run 3 ps --timeout 0.3

# Any name under a shared identity, from a folder; an observer of such a cluster is a member of it.
"$rusm" node start --identity "$work/tiny/shared" --name berlin --ready-fd 3 3>"$work/berlin.ready" >"$work/berlin.log" 2>&1 &
node[berlin]=$!
await test -s "$work/berlin.ready"
run 0 ps --at "$(<"$work/berlin.ready")" --identity "$work/tiny/shared" --json
json 'isinstance(d, list)'
stop berlin TERM

echo "certificates while it runs"
cp -r "$work/pki" "$work/live"
run 0 ca issue osaka --ca "$work/ca" --out "$work/live"
rm -f "$work/london.ready"
"$rusm" node start --identity "$work/live/london" --ready-fd 3 3>"$work/london.ready" >"$work/london.log" 2>&1 &
node[london]=$!
await test -s "$work/london.ready"
london=$(<"$work/london.ready")
"$rusm" node start --identity "$work/live/osaka" --connect "$london" >"$work/osaka.log" 2>&1 &
node[osaka]=$!
await grep -q "^osaka linked to london" "$work/osaka.log"
export RUSM_AT=$london RUSM_IDENTITY=$work/pki/ann
run 0 node reload --json
json 'd == {"node": "london", "reloaded": True}'
grep -q "^london reloaded: certificate until 20.*, CAs 1, revocation lists 0\$" "$work/london.log" || fail "not logged"
run 4 node reload --identity "$work/pki/watcher"
complains '*only an operator may ask a node to reload'
# What is wrong with the files is said here and there, and nothing changes.
cp "$work/pki/tokyo.key" "$work/live/london.key"
run 1 node reload
complains '*london.key: not the key of the certificate in *london.pem'
grep -q "^london did not reload, and goes on as before: .*london.key" "$work/london.log" || fail "not logged"
cp "$work/pki/london.key" "$work/live/london.key"
run 0 ca revoke osaka --ca "$work/ca"
run 0 ca crl --ca "$work/ca" --out "$work/live/crl.pem"
kill -HUP "${node[london]}"
await grep -q "^london reloaded: .*revocation lists 1\$" "$work/london.log"
alone() { [[ $("$rusm" peers --json 2>/dev/null) == "[]" ]]; }
await alone
stop osaka TERM
stop london TERM
echo "ok"
