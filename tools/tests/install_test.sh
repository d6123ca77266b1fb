#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs a build tree and uses it as a stranger would: install_test.sh BUILD_DIR c|c++
# The tree is installed to one folder and moved to another, because nothing in it may remember where it was built.
set -euo pipefail
build=$(realpath "$1")
language=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $language in
c) compiler=${CC:-cc} cmake_language=C flags=(-std=c11 -x c) ;;
c++) compiler=${CXX:-c++} cmake_language=CXX flags=(-std=c++11 -x c++) ;;
*)
    echo "usage: install_test.sh BUILD_DIR c|c++" >&2
    exit 2
    ;;
esac
flags+=(-Wall -Wextra -Wpedantic -Werror)

cmake --install "$build" --prefix "$work/first" >"$work/log" || {
    cat "$work/log"
    exit 1
}
mv "$work/first" "$work/moved"
prefix=$work/moved

for pattern in 'include/rusm/rusm.h' 'lib*/*librusm-otp.so' 'lib*/*librusm-otp.a' 'lib*/*librusm-cluster.so' \
    'lib*/*librusm-cluster.a' 'bin/rusm' '*/rusmConfig.cmake' '*/rusm-otp.pc' '*/rusm-cluster.pc' \
    '*/man3/rusm_send.3' '*/man1/rusm.1' '*/LICENSE'; do
    [[ -n $(find "$prefix" -path "$prefix/$pattern" -print -quit) ]] || {
        echo "not installed: $pattern"
        exit 1
    }
done
if grep -rIl --include='*.cmake' --include='*.pc' -e "$build" -e "$work/first" "$prefix"; then
    echo "the files above name the place of the build"
    exit 1
fi
"$prefix/bin/rusm" --help >"$work/help"
grep -q usage -i "$work/help"

echo "each public header alone"
while read -r header; do
    echo "#include <${header#"$prefix/include/"}>" | "$compiler" "${flags[@]}" -I"$prefix/include" -fsyntax-only -
done < <(find "$prefix/include" -name '*.h')

echo "pkg-config, shared and static"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name rusm-otp.pc)")
libs=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH
read -r -a found < <(pkg-config --cflags --libs rusm-cluster rusm-otp)
"$compiler" "${flags[@]}" "$here/consumer/main.c" -x none -o "$work/shared" "${found[@]}" -Wl,-rpath,"$libs"
"$work/shared"
# Ours from the archives, the rest as the system has it: `pkg-config --static` wants archives of everything.
mapfile -t needed < <(pkg-config --print-requires-private rusm-cluster | cut -d' ' -f1)
read -r -a found < <(pkg-config --cflags --libs rusm-cluster rusm-otp "${needed[@]}")
found=("${found[@]/#-lrusm-cluster/-l:librusm-cluster.a}")
found=("${found[@]/#-lrusm-otp/-l:librusm-otp.a}" -pthread -ldl)
"$compiler" "${flags[@]}" "$here/consumer/main.c" -x none -o "$work/static" "${found[@]}"
"$work/static"

echo "find_package, shared and static"
# By the same program as the build: a machine with ninja need not have make.
generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")
cmake -G "$generator" -S "$here/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCONSUMER_LANGUAGE="$cmake_language" >"$work/log" || {
    cat "$work/log"
    exit 1
}
cmake --build "$work/consumer"
"$work/consumer/consumer-shared"
"$work/consumer/consumer-static"
