# The servers among the peers: a part of install.sh, which reads this file.
#
# A server that is on the PATH is used as it is. Else Debian's package is unpacked, with whatever it
# needs that this system lacks, into build/peers/root: nothing is installed, no service starts, and
# the system stays as it is. build/peers/bin and build/peers/lib lead there.

# present PROGRAM: it is on the PATH, or where only root's PATH leads.
present() {
  PATH=$PATH:/usr/sbin command -v "$1"
}

# apt ARGUMENT...: apt-get with caches and locks of its own, so that it needs no rights.
apt() {
  apt-get -q -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache="$build/apt/cache" "$@"
}

# unpack PACKAGE PROGRAM...: Debian's package, and links to its programs.
unpack() {
  local package=$1 deb program libraries
  shift
  if ! { command -v apt-get && command -v dpkg-deb; } > /dev/null; then
    echo "$package: expected it on the PATH, or apt-get to take Debian's package with" >&2
    return 1
  fi
  rm -rf "$build/apt/cache"
  mkdir -p "$build/apt/cache/archives/partial" "$build/apt/lists/partial" "$build/root" "$build/bin"
  local download=(install --yes --no-install-recommends --download-only "$package")
  # The system's own lists of packages may be too old, or not there.
  local own=(-o Dir::State::Lists="$build/apt/lists")
  if ! apt "${download[@]}"; then
    apt "${own[@]}" update && apt "${own[@]}" "${download[@]}" || return 1
  fi
  for deb in "$build"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$deb" "$build/root" || return 1
  done
  rm -rf "$build/apt"
  for program in "$@"; do
    ln -sfn "../root/$program" "$build/bin/${program##*/}" || return 1
  done
  # Libraries stand in a folder named for the machine; there is none where the system has them all.
  for libraries in "$build"/root/usr/lib/*-linux-*; do
    [ ! -d "$libraries" ] || ln -sfn "root/usr/lib/${libraries##*/}" "$build/lib" || return 1
  done
}

install_redis() {
  present redis-server || unpack redis-server usr/bin/redis-server
}

install_beanstalkd() {
  present beanstalkd || unpack beanstalkd usr/bin/beanstalkd
}

# The release that is built where Go is: it can sync each message, which Debian's may not yet.
nats_release=v2.14.10

install_nats() {
  present nats-server && return
  if command -v go > /dev/null; then
    # A read-only cache of modules could not be removed.
    GOBIN=$build/bin GOPATH=$build/go GOFLAGS=-modcacherw go install -trimpath \
      "github.com/nats-io/nats-server/v2@$nats_release" && rm -rf "$build/go" && return
    rm -rf "$build/go"
  fi
  unpack nats-server usr/sbin/nats-server
}

install_rabbitmq() {
  present rabbitmq-server && return
  unpack rabbitmq-server usr/lib/rabbitmq/bin/rabbitmq-server || return 1
  local erlang=$build/root/usr/lib/erlang
  # Erlang may be on the PATH already. Else its script looks for itself where it would be installed.
  [ -d "$erlang" ] || return 0
  sed -i "s|=/usr/lib/erlang\$|=\"$erlang\"|" "$erlang/bin/erl" &&
    ln -sfn ../root/usr/lib/erlang/bin/erl "$build/bin/erl" &&
    ln -sfn ../root/usr/bin/epmd "$build/bin/epmd"
}
