# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# ./dev ci. Sourced by ./dev. Everything is built first; then one ctest runs all checks, the demo, the benchmarks
# and the tests under the sanitizers, so that one summary, the last thing printed, covers them.

# What the fuzz targets have found before must stay found: each input of the corpus once.
replay_corpus() {
    local program name
    for program in $(programs_in build/fuzz/fuzz); do
        name=${program##*/}
        name=${name%_fuzz}
        say "replaying $name"
        if compgen -G "fuzz/corpus/$name/*" >/dev/null; then
            "$program" -runs=0 "fuzz/corpus/$name"
        else
            "$program" -runs=1000 -seed=1
        fi
    done
}

# Each benchmark for a second: it still runs, whatever it measures.
short_bench() {
    local program
    for program in $(programs_in build/release/bench); do
        say "${program##*/} 1"
        "$program" 1
    done
}

# The simulator: seeds that are always the same, and the bugs that it must find. Under the sanitizers it runs fewer
# (ctest label sim).
simulate() {
    local program
    for program in $(programs_in build/release/test | grep '/test_sim_'); do
        "$program" --seed 1 --seeds 6000
    done
    test/sim/planted.py
}

cmd_ci() {
    if [[ ${1:-} == --step ]]; then
        "$2"
        return
    fi
    need check
    local preset
    local -a extra=(
        --extra "ci.format=./dev format --check"
        --extra "ci.lint=./dev lint"
        --extra "ci.docs=./dev docs"
        --extra "ci.fuzz-replay=./dev ci --step replay_corpus"
        --extra "ci.sim=./dev ci --step simulate"
        --extra "ci.bench=./dev ci --step short_bench"
        --extra "ci.demo=./dev demo"
    )
    for preset in debug asan tsan release fuzz; do
        build "$preset"
    done
    # The plain tests are ./dev test; of the release build only what others get of it.
    python3 tools/merge_ctest.py "${extra[@]}" --only 'release:^(install|examples)$' build/ci asan tsan release
    ctest_in ci
}
