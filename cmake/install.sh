#!/usr/bin/env bash
# Installs the C library: RELEASE (folder of the built libraries) PREFIX [DESTDIR].
set -eu
release=$1
prefix=$2
case $prefix in
  /*) ;;
  *) prefix=$PWD/$prefix ;;
esac
root=${3:-}$prefix
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml")
abi=$(sed -n 's/^#define LQ_ABI_VERSION \([0-9]*\)$/\1/p' "$top/include/libqueue.h")
if [ -z "$version" ] || [ -z "$abi" ]; then
  echo "install.sh: no version in $top/Cargo.toml, or no LQ_ABI_VERSION in libqueue.h" >&2
  exit 1
fi

fill() {
  sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" -e "s|@ABI@|$abi|g" \
    -e "s|@SERIES@|${version%.*}|g" "$here/$1.in" > "$2/$1"
  chmod 644 "$2/$1"
}

install -d "$root/include" "$root/lib/pkgconfig" "$root/lib/cmake/libqueue"
install -m 644 "$top/include/libqueue.h" "$top/include/libqueue.hpp" "$root/include"
install -m 755 "$release/libqueue.so" "$root/lib/libqueue.so.$version"
install -m 644 "$release/libqueue.a" "$root/lib"
ln -sf "libqueue.so.$version" "$root/lib/libqueue.so.$abi"
ln -sf "libqueue.so.$abi" "$root/lib/libqueue.so"
fill libqueue.pc "$root/lib/pkgconfig"
fill libqueueConfig.cmake "$root/lib/cmake/libqueue"
fill libqueueConfigVersion.cmake "$root/lib/cmake/libqueue"
