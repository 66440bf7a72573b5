#!/usr/bin/env bash
# The Java peers: built into build/peers/java, with the artefacts that this takes in
# build/peers/m2, and the program build/peers/bin/libqueue-peers-java. ../install.sh takes the
# function; it can be run alone too.

install_java() {
  local root sources built module path=() name=libqueue-peers-java
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
  sources=$root/benches/peers/java
  built=$root/build/peers/java
  if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
    echo "java: left out, for it takes a JDK of version 17 or later and Maven." >&2
    return 1
  fi
  mkdir -p "$built" "$root/build/peers/bin"
  # What an earlier build left is no sign of this one.
  rm -f "$root/build/peers/bin/$name" "$built"/*/classpath
  # What one module cannot get does not stop the others; what is here already needs no network.
  (
    cd "$sources"
    mvn=(mvn --batch-mode --quiet --fail-at-end compile
      -Dmaven.repo.local="$root/build/peers/m2" -Dpeers.build="$built")
    "${mvn[@]}" --offline || "${mvn[@]}"
  ) >"$built/log" 2>&1 || true
  for module in driver chronicle kafka; do
    if [ -f "$built/$module/classpath" ]; then
      path+=("$built/$module/classes" "$(cat "$built/$module/classpath")")
    else
      echo "java: $module is left out, for Maven could not build it ($built/log says why)." >&2
    fi
  done
  if [ ! -f "$built/driver/classpath" ]; then
    return 1
  fi
  cat >"$root/build/peers/bin/$name" <<END
#!/bin/sh
exec java @"$sources/jvm.options" -cp "$(IFS=:; echo "${path[*]}" | tr -s :)" peers.Main "\$@"
END
  chmod +x "$root/build/peers/bin/$name"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  install_java
fi
