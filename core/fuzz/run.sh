#!/usr/bin/env bash
# Runs every fuzz target for an equal share of the time, under AddressSanitizer, and says how many
# inputs each has run. Ends with an error if there was a finding.
#
#   core/fuzz/run.sh 20m [TARGET...]      s, m and h as units; without targets all
#
# All it needs it puts into build/fuzz: the tool, what is compiled, the corpora, findings.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/fuzz
cargo=${CARGO:-cargo}
# At least one seed of each target, at most this many seconds for one input.
timeout=60
# What a damaged store may make the library allocate, the sanitizer's own included.
rss_mb=4096

seconds() {
  case $1 in
    *h) echo $((${1%h} * 3600)) ;;
    *m) echo $((${1%m} * 60)) ;;
    *s) echo "${1%s}" ;;
    *) echo "$1" ;;
  esac
}

total=$(seconds "${1:-5m}")
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for file in "$root"/core/fuzz/fuzz_targets/*.rs; do
    targets+=("$(basename "$file" .rs)")
  done
fi
share=$((total / ${#targets[@]}))
[ "$share" -gt 0 ] || share=1

if ! rustup run nightly rustc --version > /dev/null 2>&1; then
  echo "fuzzing needs nightly Rust for its sanitizer: rustup toolchain install nightly" >&2
  exit 2
fi
if [ ! -x "$build/tool/bin/cargo-fuzz" ]; then
  "$cargo" install cargo-fuzz --version 0.13.2 --locked --root "$build/tool" \
    --target-dir "$build/tool/target"
fi
mkdir -p "$build/corpus" "$build/findings"
(cd "$root" && LIBQUEUE_FUZZ_SEEDS=$build/corpus \
  "$cargo" test --quiet --locked --release -p libqueue --lib -- seeds_are_written > /dev/null)
PATH=$build/tool/bin:$PATH RUSTUP_TOOLCHAIN=nightly \
  cargo fuzz build --fuzz-dir "$root/core/fuzz" --target-dir "$build/target"

# In memory where there is such a place: a run makes a store anew for each input.
if [ -w /dev/shm ]; then scratch=/dev/shm; else scratch=$build; fi
scratch=$(mktemp -d "$scratch/libqueue-fuzz.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

found=0
table=()
for target in "${targets[@]}"; do
  echo "== $target for $share s"
  program=$(ls "$build"/target/*/release/"$target")
  mkdir -p "$build/corpus/$target" "$build/findings/$target"
  log=$build/$target.log
  began=$SECONDS
  ended=0
  TMPDIR=$scratch "$program" "$build/corpus/$target" -max_total_time="$share" -max_len=16384 \
    -timeout="$timeout" -rss_limit_mb="$rss_mb" -print_final_stats=1 -use_value_profile=1 \
    -artifact_prefix="$build/findings/$target/" > "$log" 2>&1 || ended=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -1 || true)
  rm -rf "$scratch"/*
  verdict=ok
  if [ "$ended" != 0 ]; then
    verdict=FOUND
    found=1
    tail -40 "$log"
    echo "== $target: a finding. The input is in $build/findings/$target, all output in $log."
    echo "   When it is mended, copy it to core/fuzz/regressions/$target."
  fi
  table+=("$(printf '%-16s %12s runs %6s s   %-12s %s' \
    "$target" "${runs:-?}" $((SECONDS - began)) "$edges" "$verdict")")
done

echo
printf '%s\n' "${table[@]}"
exit "$found"
