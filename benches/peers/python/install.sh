#!/usr/bin/env bash
# The Python peers: a virtual environment of their own in build/peers/venv, and the program
# build/peers/bin/libqueue-peers-python. ../install.sh takes the function; it can be run alone too.

install_python() {
  local root sources venv program
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
  sources=$root/benches/peers/python
  venv=$root/build/peers/venv
  program=$root/build/peers/bin/libqueue-peers-python
  mkdir -p "$root/build/peers/bin"
  rm -f "$program"
  if ! python3 -m venv "$venv"; then
    echo "python: left out, for it takes Python 3.10 or newer with venv." >&2
    return 1
  fi
  # multiprocessing.Queue needs no package, so that the program is there in any case.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r "$sources/requirements.txt" ||
    echo "python: pip could not install all packages; the peers without theirs are left out." >&2
  cat >"$program" <<END
#!/bin/sh
PYTHONPATH="$sources" PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" -m peers "\$@"
END
  chmod +x "$program"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  install_python
fi
