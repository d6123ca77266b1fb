#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run the Erlang peer of a benchmark; it prints one line of JSON, as the benchmark does with --json.
#
#     bench/peers/run.sh NAME [seconds] [--threads N] [options of the benchmark]
#
# Options of Erlang's that its processes run with by default are left alone, but for the number of schedulers
# (--threads; without: one per CPU) and the number of processes that there may be. The peer of `fair` is two nodes that
# talk over TLS on loopback (Debian: erlang-ssl).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${RUSM_PEERS_BUILD:-$here/../../build/peers}

[[ $# -ge 1 && -f $here/$1.erl ]] || {
    echo "usage: run.sh NAME [seconds] [--threads N] [options]; NAME is a file of $here without .erl" >&2
    exit 2
}
command -v erl >/dev/null || {
    echo "run.sh: there is no Erlang here (Debian: erlang-base)" >&2
    exit 3
}
name=$1
mkdir -p "$out"
for module in bench_peer "$1"; do
    if [[ ! $out/$module.beam -nt $here/$module.erl ]]; then
        erlc -Werror -o "$out" "$here/$module.erl"
    fi
done

threads=0
declare -a args=("$1")
shift
while [[ $# -gt 0 ]]; do
    if [[ $1 == --threads && $# -ge 2 ]]; then
        threads=$2
        shift
    else
        args+=("$1")
    fi
    shift
done
[[ $threads != 0 ]] || threads=$(nproc)
# A crash shows on standard error; the dump of a million processes would only fill the disk.
export ERL_CRASH_DUMP_SECONDS=0
declare -a words=(-noinput +S "$threads:$threads" +P 8388608 -pa "$out")
if [[ $name != fair ]]; then
    exec erl "${words[@]}" -run bench_peer main -extra "${args[@]}"
fi

# Without epmd, which would outlive this: all nodes are found at one port, each at an address of its own.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$here/certs.sh" "$folder" a@127.0.0.1 b@127.0.0.2
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.2", 0)); print(s.getsockname()[1])')
HOME=$folder erl "${words[@]}" -name a@127.0.0.1 -setcookie "bench$$" -proto_dist inet_tls -ssl_dist_optfile \
    "$folder/a.conf" -start_epmd false -erl_epmd_port "$port" -kernel inet_dist_use_interface '{127,0,0,1}' \
    -run bench_peer main -extra "${args[@]}"
