#!/usr/bin/env bash
# Tests the C library: run.sh, after `cargo build --release -p libqueue-ffi`.
# RELEASE is the folder of libqueue.so and libqueue.a (target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
release=$(cd "${RELEASE:-$top/target/release}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/libqueue-c.XXXXXX")
trap 'rm -rf "$work"' EXIT

strict=(-Wall -Wextra -Werror -pedantic "-I$top/include")
link=("-L$release" -lqueue "-Wl,-rpath,$release" -pthread)
programs_c=(life bad_input settle look)
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

# run_all NAME FLAGS...: builds all programs with the flags and runs each in a folder of its own
run_all() {
  local name=$1 source program
  shift
  for source in "${programs_c[@]/%/.c}" "${programs_cpp[@]/%/.cpp}"; do
    program=$work/$name-${source%.*}
    compile "$program" "$here/$source" "$@"
    mkdir "$program.dir"
    timeout 120 "$program" "$program.dir" || { echo "tests/c/$source ($name) failed" >&2; exit 1; }
    rm -rf "$program.dir"
    echo "ok   $source ($name)"
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
    echo "skip pkg-config: there is none"
  fi
  if command -v cmake >/dev/null; then
    cmake -S "$here/tree" -B "$work/cmake" "-DCMAKE_PREFIX_PATH=$work/tree" \
      "-DSOURCES=$here" >"$work/cmake.log" || { cat "$work/cmake.log" >&2; exit 1; }
    cmake --build "$work/cmake" >"$work/cmake.log" || { cat "$work/cmake.log" >&2; exit 1; }
    check_tree "$work/cmake/shared"
    check_tree "$work/cmake/static"
    echo "ok   CMake, shared and static"
  else
    echo "skip CMake: there is none"
  fi
}

only_lq_is_exported
demo_compiles
run_all plain
run_all sanitized -fsanitize=address,undefined -fno-sanitize-recover=all
installed_tree
