#!/usr/bin/env bash
# Builds the peers, which a user could pick instead of libqueue, for the workloads of `make bench`.
#
#   benches/peers/install.sh [FAMILY...]      without names all families
#
# A family is a function `install_NAME` below: what one program of the protocol in README.md needs.
# All of it goes to build/peers. A family whose tools are not here is left out, and said so; one
# that is asked for by its name has to succeed.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/benches/peers
build=$root/build/peers
cargo=${CARGO:-cargo}

# SQLite, LMDB, walrus, yaque and okaywal, which are linked: build/peers/bin/libqueue-peers.
install_rust() {
  "$cargo" build --release --locked --manifest-path "$here/rust/Cargo.toml" \
    --target-dir "$build/target" || return 1
  # A program that runs may be replaced by another file, not written over.
  install -D "$build/target/release/libqueue-peers" "$build/bin/libqueue-peers.new" || return 1
  mv "$build/bin/libqueue-peers.new" "$build/bin/libqueue-peers"
}

. "$here/servers.sh"
. "$here/python/install.sh"
. "$here/java/install.sh"

families() {
  compgen -A function install_ | sed 's/^install_//'
}

for name in "$@"; do
  if ! declare -F "install_$name" > /dev/null; then
    echo "install.sh: no family $name, expected one of: $(families | paste -sd ' ')" >&2
    exit 2
  fi
done

failed=()
for name in ${*:-$(families)}; do
  echo "== $name"
  "install_$name" || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "install.sh: left out, see above: ${failed[*]}" >&2
  [ $# -eq 0 ] || exit 1
fi
