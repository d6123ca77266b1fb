# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# ./dev lint, format and docs. Sourced by ./dev. Each check runs even if one before it failed.

c_sources() { find include src test bench fuzz examples tools -name '*.[ch]' -type f | sort; }
scripts() { find dev .ci/run tools -type f \( -name '*.sh' -o -path dev -o -path .ci/run \) | sort; }

# check NAME COMMAND...: runs it and remembers whether it failed.
failed=()
check() {
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        printf 'ok   %s (%d s)\n' "$name" $((SECONDS - start))
    else
        printf 'FAIL %s\n' "$name"
        failed+=("$name")
    fi
}

checked() {
    [[ ${#failed[@]} -eq 0 ]] || die "failed: ${failed[*]}"
}

# The code as it is written for GCC, seen by clang: its unknown warning options are no finding.
tidy() {
    local -a files
    mapfile -t files < <(python3 tools/tidy_files.py build/debug)
    [[ ${#files[@]} -gt 0 ]] || return 0
    printf '%s\0' "${files[@]}" |
        timeout 600 xargs -0 -n 4 -P "$(cores)" clang-tidy --quiet -p build/debug \
            --extra-arg=-Wno-unknown-warning-option 2> >(grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -header|^[[][0-9]+/[0-9]+[]] Processing' >&2)
}

symbols() {
    python3 tools/check_symbols.py build/debug/src/librusm-otp.so build/debug/src/librusm-cluster.so
}

spelling() {
    # Not by asking git: the tree may be an archive, or belong to another user.
    find . \( -path ./build -o -path ./.git -o -path ./.cache -o -path ./fuzz/corpus \) -prune -o \
        -type f ! -name '*.svg' -print0 | xargs -0 codespell --ignore-words tools/words.txt
}

sh_check() {
    local -a files
    mapfile -t files < <(scripts)
    shellcheck -x "${files[@]}"
}

cmd_lint() {
    configure debug >/dev/null
    cmake --build build/debug -j "$(cores)" --target rusm-otp rusm-cluster >/dev/null ||
        die "the libraries do not build: ./dev build"
    check layers python3 tools/check_layers.py
    check "banned calls" python3 tools/check_banned.py
    check "doc comments" python3 tools/check_docs.py
    check sizes python3 tools/check_size.py
    check guide python3 tools/check_guide.py
    check symbols symbols
    check shellcheck sh_check
    check spelling spelling
    check clang-tidy tidy
    checked
}

# Versions lay out some lines differently, so there is one that counts: the one of Debian 12.
clang_format_version=14

formatter() {
    local tool
    for tool in "clang-format-$clang_format_version" clang-format; do
        if [[ "$("$tool" --version 2>/dev/null)" == *"version $clang_format_version."* ]]; then
            echo "$tool"
            return
        fi
    done
    return 1
}

cmd_format() {
    local -a files
    local tool
    if ! tool=$(formatter); then
        # On a release without that version the layout cannot be judged; CI has it.
        [[ ${1:-} == --check ]] ||
            die "clang-format $clang_format_version is needed; here is $(clang-format --version)"
        echo "dev: the layout is NOT checked: clang-format $clang_format_version is needed, here is another" >&2
        return
    fi
    mapfile -t files < <(c_sources)
    case ${1:-} in
    --check) "$tool" --dry-run --Werror "${files[@]}" ;;
    "") "$tool" -i "${files[@]}" ;;
    *) die "unknown option '$1'; usage: ./dev format [--check]" ;;
    esac
}

cmd_docs() {
    check "doc comments" python3 tools/check_docs.py
    check "manual pages" python3 tools/gendocs.py --version "$(project_version)" build/man
    check "manual syntax" manual_syntax
    check links python3 tools/check_links.py
    checked
    echo "the pages of the calls are in build/man, for instance: man build/man/rusm_spawn.3"
}

project_version() { sed -n 's/^project(rusm VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt; }

# groff names what it does not understand, and goes on; here that is a failure.
manual_syntax() {
    has groff || return 0
    local page said
    for page in build/man/*.3 man/*.1; do
        [[ -e $page ]] || continue
        said=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        [[ -z $said ]] || {
            printf '%s: %s\n' "$page" "$said"
            return 1
        }
    done
}
