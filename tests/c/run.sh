#!/usr/bin/env bash
# Tests the C library: run.sh, after `cargo build --release -p libqueue-ffi`. With `large` behind it
# only the message of 1 GiB.
# RELEASE is the folder of libqueue.so and libqueue.a (target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
release=$(cd "${RELEASE:-$top/target/release}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/libqueue-c.XXXXXX")
trap 'rm -rf "$work"' EXIT

strict=(-Wall -Wextra -Werror -pedantic "-I$top/include")
link=("-L$release" -lqueue "-Wl,-rpath,$release" -pthread)
programs_c=(life bad_input settle attributes once look manage dead redrive seek copy lines threads
            events filter pressure retain dedup transaction compact stats)
programs_cpp=(plain wrap)

# compile OUT SOURCE FLAGS...
compile() {
  local out=$1 source=$2
  shift 2
  case $source in
    *.c) gcc -std=c99 -g -O1 "${strict[@]}" "$@" "$source" -o "$out" "${link[@]}" ;;
    *.cpp) g++ -std=c++17 -g -O1 "${strict[@]}" "$@" "$source" -o "$out" "${link[@]}" ;;
  esac
}

# run_one NAME PROGRAM COMMAND...: the program in a folder of its own, behind the command
run_one() {
  local name=$1 program=$2
  shift 2
  mkdir "$program.dir"
  timeout -k 5 120 "$@" "$program" "$program.dir" ||
    { echo "tests/c, $(basename "$program") ($name) failed" >&2; exit 1; }
  rm -rf "$program.dir"
  echo "ok   $(basename "$program") ($name)"
}

# run_all NAME FLAGS...: builds all programs with the flags and runs each
run_all() {
  local name=$1 source program
  shift
  mkdir "$work/$name"
  for source in "${programs_c[@]/%/.c}" "${programs_cpp[@]/%/.cpp}"; do
    program=$work/$name/${source%.*}
    compile "$program" "$here/$source" "$@"
    run_one "$name" "$program"
  done
}

# A message of 1 GiB, where it is asked for: it wants 3 GiB of memory and 1 GiB of disk.
large() {
  compile "$work/large" "$here/large.c" -O2
  if [ "${LIBQUEUE_TEST_LARGE:-}" = 1 ]; then
    run_one plain "$work/large"
  fi
}

# left_out WHAT: says so; an error where LIBQUEUE_TEST_REQUIRE names it
left_out() {
  echo "tests/c: LEFT OUT here, $1: there is none" >&2
  case ",${LIBQUEUE_TEST_REQUIRE:-}," in
    *",$1,"*) echo "tests/c: $1 is required (LIBQUEUE_TEST_REQUIRE)" >&2; exit 1 ;;
  esac
}

# A program that loses memory, to see that whoever looks for leaks finds one.
leaky() {
  cat >"$work/leaky.c" <<'END'
#include <stdlib.h>
int main(void)
{
    volatile char *lost = malloc(10);
    lost[0] = 1;
    lost = NULL;
    return 0;
}
END
  gcc -g -O0 "$@" "$work/leaky.c" -o "$work/leaky"
}

# must_fail WHO COMMAND...: the leak is found by the command
must_fail() {
  local who=$1
  shift
  if "$@" "$work/leaky" >/dev/null 2>&1; then
    echo "$who finds no leak where there is one" >&2
    exit 1
  fi
}

# Reads and writes outside of memory, undefined behaviour, and leaks end a program with an error.
sanitized() {
  local flags=(-fsanitize=address,undefined -fno-sanitize-recover=all)
  export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
  export UBSAN_OPTIONS=print_stacktrace=1
  leaky "${flags[@]}"
  must_fail AddressSanitizer
  run_all sanitized "${flags[@]}"
}

# Whole programs with the library inside of them, which the sanitizers above do not look into. What
# is only "possibly lost" is no error: Rust keeps pointers to behind a block's counters, also in the
# variables of the main thread, which live until the process ends. The other programs would say
# nothing new: they go the same ways.
under_valgrind() {
  if ! command -v valgrind >/dev/null; then
    left_out valgrind
    return
  fi
  local command=(valgrind -q --trace-children=yes --fair-sched=try --error-exitcode=99
    --leak-check=full --show-leak-kinds=definite,indirect
    --errors-for-leak-kinds=definite,indirect)
  local program
  leaky
  must_fail valgrind "${command[@]}"
  for program in life bad_input settle attributes manage dead threads; do
    run_one valgrind "$work/plain/$program" "${command[@]}"
  done
}

only_lq_is_exported() {
  local others
  others=$(nm -D --defined-only "$release/libqueue.so" | awk '$3 !~ /^lq_/ { print $3 }')
  if [ -n "$others" ]; then
    printf 'libqueue.so exports more than lq_*:\n%s\n' "$others" >&2
    exit 1
  fi
  # What the header declares is what the library has.
  diff <(nm -D --defined-only "$release/libqueue.so" | awk '{ print $3 }' | sort) \
    <(grep -oE '^[a-z].*\blq_[a-z_]+\(' "$top/include/libqueue.h" | grep -v '^static' |
      grep -oE 'lq_[a-z_]+\($' | tr -d '(' | sort) ||
    { echo "libqueue.h and libqueue.so differ in their functions" >&2; exit 1; }
  if ! readelf -d "$release/libqueue.so" | grep -q 'SONAME.*\[libqueue\.so\.[0-9]*\]'; then
    echo "libqueue.so has no SONAME libqueue.so.N" >&2
    exit 1
  fi
  echo "ok   exported names"
}

demo_compiles() {
  for source in "$top"/demo/*.c; do
    compile "$work/$(basename "${source%.c}")" "$source" -O2
  done
  echo "ok   the demo's programs compile"
}

# check_tree PROGRAM...: runs it against the installed library
check_tree() {
  mkdir "$work/tree.dir"
  LD_LIBRARY_PATH=$work/tree/lib timeout 120 "$1" "$work/tree.dir"
  rm -rf "$work/tree.dir"
}

installed_tree() {
  bash "$top/cmake/install.sh" "$release" "$work/tree"
  test -L "$work/tree/lib/libqueue.so.0"
  if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$work/tree/lib/pkgconfig
    # shellcheck disable=SC2046 # the flags are words
    gcc -std=c99 "$here/settle.c" -o "$work/by-pkg-config" $(pkg-config --cflags --libs libqueue)
    check_tree "$work/by-pkg-config"
    # shellcheck disable=SC2046
    gcc -std=c99 "$here/settle.c" -o "$work/static" $(pkg-config --cflags libqueue) \
      "$work/tree/lib/libqueue.a" $(pkg-config --static --libs-only-l libqueue | sed 's/-lqueue//')
    check_tree "$work/static"
    echo "ok   pkg-config, shared and static"
  else
    left_out pkg-config
  fi
  if command -v cmake >/dev/null; then
    cmake -S "$here/tree" -B "$work/cmake" "-DCMAKE_PREFIX_PATH=$work/tree" \
      "-DSOURCES=$here" >"$work/cmake.log" || { cat "$work/cmake.log" >&2; exit 1; }
    cmake --build "$work/cmake" >"$work/cmake.log" || { cat "$work/cmake.log" >&2; exit 1; }
    check_tree "$work/cmake/shared"
    check_tree "$work/cmake/static"
    echo "ok   CMake, shared and static"
  else
    left_out cmake
  fi
}

if [ "${1:-}" = large ]; then
  large
  exit
fi
only_lq_is_exported
demo_compiles
run_all plain
large
under_valgrind
sanitized
installed_tree
