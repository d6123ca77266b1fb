#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What Erlang nodes need to talk over TLS 1.3, each side asking the other for its certificate.
#
#     bench/peers/certs.sh FOLDER NAME@ADDRESS...
#
# Makes a certificate authority and, for each node, a certificate and NAME.conf, for -ssl_dist_optfile. A client
# compares the address that it asked for with the certificate's. The cipher is the one that QUIC takes between our
# own nodes; Erlang's first choice is AES with keys of 256 bits. All of it is good for a day.
set -euo pipefail

[[ $# -ge 2 && -d $1 ]] || {
    echo "usage: certs.sh FOLDER NAME@ADDRESS..." >&2
    exit 2
}
folder=$(cd "$1" && pwd)
shift
umask 077

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
quiet() {
    local said
    said=$("$@" 2>&1) || {
        printf 'certs.sh: %s\n%s\n' "$*" "$said" >&2
        exit 1
    }
}

quiet openssl req -x509 "${new_key[@]}" -subj /CN=bench -days 1 -addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=critical,keyCertSign -keyout "$folder/ca.key" -out "$folder/ca.pem"
for node in "$@"; do
    name=${node%@*}
    address=${node#*@}
    quiet openssl req "${new_key[@]}" -subj "/CN=$name" -keyout "$folder/$name.key" -out "$folder/$name.csr"
    cat >"$folder/$name.ext" <<EOF
subjectAltName=IP:$address,DNS:$address
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
EOF
    quiet openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
        -days 1 -extfile "$folder/$name.ext" -out "$folder/$name.pem"
    side="{certfile,\"$folder/$name.pem\"},{keyfile,\"$folder/$name.key\"},{cacertfile,\"$folder/ca.pem\"},
          {verify,verify_peer},{versions,['tlsv1.3']},{ciphers,[\"TLS_AES_128_GCM_SHA256\"]}"
    cat >"$folder/$name.conf" <<EOF
[{server,[{fail_if_no_peer_cert,true},$side]},
 {client,[$side]}].
EOF
done
