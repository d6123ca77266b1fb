# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Finding and installing what a command of ./dev needs. Sourced by ./dev.
#
# What counts is whether a tool or library is there, not whether a package is: a machine with its own builds of
# them needs no package manager. Only when something is missing is apt asked, as root or through sudo.

say() { printf '\n==> %s\n' "$*"; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }
has_lib() { has pkg-config && pkg-config --exists "$@" 2>/dev/null; }
has_header() { has "$1" && "$1" -x "$2" -E - <<<"#include <$3>" >/dev/null 2>&1; }

# The run-time libraries of the sanitizers and of libFuzzer are packages of their own in newer releases.
has_clang_rt() {
    local file
    file=$(clang -print-file-name=libclang_rt.asan-x86_64.a 2>/dev/null) && [[ -e $file ]] && return 0
    file=$(clang -print-file-name=libclang_rt.asan.a 2>/dev/null) && [[ -e $file ]] && return 0
    file=$(clang -print-runtime-dir 2>/dev/null) && compgen -G "$file/libclang_rt.asan*.a" >/dev/null && return 0
    file=$(clang -print-resource-dir 2>/dev/null) && compgen -G "$file/lib/linux/libclang_rt.asan*.a" >/dev/null
}

has_erlang_ssl() { has erl && erl -noinput -boot start_clean -eval 'halt(length([x || {error, _} <- [code:lib_dir(ssl)]])).'; }

# missing_for GROUP: prints the Debian packages that bring what is missing.
#   build  what the libraries, the tests and the demo need
#   bench  build, and Erlang, whose processes ours are compared with, and whose nodes, over TLS
#   test   build, a C++ compiler for the install test, and ip for hosts in network namespaces
#   check  test, and what lint, format, the sanitizers and the fuzzers need
missing_for() {
    has_header gcc c stdlib.h || echo gcc libc6-dev
    has cmake || echo cmake
    has ninja || echo ninja-build
    has pkg-config || echo pkg-config
    has python3 || echo python3
    has_lib 'gnutls >= 3.7' || echo libgnutls28-dev
    has_lib 'libcbor >= 0.8' || echo libcbor-dev
    has_lib 'cmocka >= 1.1.5' || echo libcmocka-dev
    has_lib 'libngtcp2 >= 1.11' || echo libngtcp2-dev
    has_lib 'libngtcp2_crypto_gnutls >= 1.11' || echo libngtcp2-crypto-gnutls-dev
    [[ $1 == build ]] && return
    if [[ $1 == bench ]]; then
        { has erl && has erlc; } || echo erlang-base
        has_erlang_ssl || echo erlang-ssl
        has openssl || echo openssl
        return
    fi
    has_header g++ c++ string || echo g++
    # Only root can make network namespaces; without them their tests skip themselves.
    { [[ $(id -u) -ne 0 ]] || has ip; } || echo iproute2
    [[ $1 == test ]] && return
    local tool
    for tool in git clang clang-tidy clang-format valgrind shellcheck codespell; do
        has "$tool" || echo "$tool"
    done
    { has clang && ! has_clang_rt; } && echo clang-rt
    return 0
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Debian 12 carries ngtcp2 1.11 in its backports suite only.
add_backports() {
    local codename=$1 file=/etc/apt/sources.list.d/rusm-backports.sources stanza
    stanza=$(python3 tools/dev/backports.py "$codename") || die "cannot add $codename-backports"
    [[ -n $stanza ]] || return 0
    say "adding $codename-backports of this machine's own mirror, in $file"
    as_root tee "$file" <<<"$stanza"
    if ! apt_get update; then
        as_root rm -f "$file"
        die "this machine's mirror does not serve $codename-backports ($file is removed again)"
    fi
}

# shellcheck source=/dev/null
os_codename() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

install_ngtcp2() {
    local codename candidate
    codename=$(os_codename)
    candidate=$(apt-cache policy libngtcp2-dev | sed -n 's/^ *Candidate: *//p')
    if dpkg --compare-versions "${candidate:-0}" ge 1.11; then
        apt_get install --no-install-recommends "$@"
        return
    fi
    [[ $codename == bookworm ]] ||
        die "ngtcp2 1.11 or newer is needed; '$codename' offers ${candidate:-none}. Build it from source."
    add_backports "$codename"
    apt_get install --no-install-recommends -t "$codename-backports" "$@"
}

install_packages() {
    local -a plain=() ngtcp2=()
    local package clang_rt=no
    for package in "$@"; do
        case $package in
        libngtcp2*) ngtcp2+=("$package") ;;
        clang-rt) clang_rt=yes ;;
        clang) plain+=(clang) clang_rt=yes ;;
        *) plain+=("$package") ;;
        esac
    done
    apt_get update || die "apt-get update failed"
    # python3 reads the apt sources, so these come first.
    [[ ${#plain[@]} -eq 0 ]] || apt_get install --no-install-recommends "${plain[@]}"
    if [[ $clang_rt == yes ]] && ! has_clang_rt; then
        apt_get install --no-install-recommends "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    fi
    [[ ${#ngtcp2[@]} -eq 0 ]] || install_ngtcp2 "${ngtcp2[@]}"
}

# need GROUP: installs what is missing; says nothing when nothing is.
need() {
    local -a missing
    mapfile -t missing < <(missing_for "$1" | tr ' ' '\n')
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "missing: ${missing[*]}"
    has apt-get || die "install what the packages above hold (their names are Debian's), then try again"
    if [[ $(id -u) -ne 0 ]]; then
        has sudo || die "installing them needs root: run './dev setup' as root, or install sudo"
    fi
    install_packages "${missing[@]}"
    hash -r
    mapfile -t missing < <(missing_for "$1" | tr ' ' '\n')
    [[ ${#missing[@]} -eq 0 ]] || die "still missing after the installation: ${missing[*]}"
}
