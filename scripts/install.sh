#!/bin/sh
# Installs Loam: in Termux on Android, in Debian under proot, on Linux and macOS. Run it again after anything that cut it off: each step
# looks whether its result is there, and downloads go on where they were.
#
#   sh scripts/install.sh            in a checkout: installs that checkout
#   sh install.sh                    anywhere: clones LOAM_REPOSITORY into LOAM_DIR (default ~/loam) first
#   LOAM_PACKAGE=loam.tgz sh install.sh   unpacks a package instead (a file that `npm pack` has made, or its address): nothing is compiled
#   sh scripts/install.sh update     takes new commits, or LOAM_PACKAGE, then installs what they need
#   sh scripts/install.sh remove     removes the command, the engine and what was cloned or unpacked; models, adapters and the vault stay
#
# In Termux the engine is llama.cpp's own archive for Android. LOAM_ENGINE=termux takes Termux's package instead (several times slower).
# LOAM_ENGINE_URL and LOAM_ENGINE_SHA256 name another archive and what it must hash to.
set -eu

release=v0.4.0
url=${LOAM_ENGINE_URL:-https://github.com/ggml-org/llama.cpp/releases/download/$release/llama-$release-bin-android-arm64.tar.gz}
# Of the release's archive none is known here: then what arrived is told, to be compared with the release's page.
sha256=${LOAM_ENGINE_SHA256:-}
model=smollm2-135m
least_node=20
mark="# Written by Loam's install.sh"

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "install.sh: $*"
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# termux, proot (a Linux of proot-distro), linux or mac.
find_place() {
  case ${PREFIX:-} in
  */com.termux/files/usr)
    echo termux
    return
    ;;
  esac
  case $(uname -s) in
  Linux)
    case $(uname -r) in
    *PRoot*) echo proot ;;
    *) echo linux ;;
    esac
    ;;
  Darwin) echo mac ;;
  *) fail "this system ($(uname -s)) is none of Termux, Linux and macOS; with Node $least_node.4 or newer, \`npm ci\` in a checkout installs Loam" ;;
  esac
}

# What only one of the places can do for itself; elsewhere the person is told.
install_package() {
  case $place in
  termux) pkg install -y "$1" >&2 ;;
  proot | linux)
    if has apt-get && [ "$(id -u)" = 0 ]; then
      apt-get update -qq >&2
      # Debian has npm apart.
      case $1 in nodejs-lts) set -- nodejs npm ;; esac
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
    else
      fail "$1 is missing; install it with this system's package manager, then run this again"
    fi
    ;;
  mac)
    case $1 in nodejs-lts) set -- node ;; esac
    if has brew; then brew install "$1" >&2; else fail "$1 is missing; install it, then run this again"; fi
    ;;
  esac
}

node_is_new() {
  has node && has npm || return 1
  version=$(node --version | sed 's/^v//')
  major=${version%%.*}
  minor=${version#*.}
  minor=${minor%%.*}
  [ "$major" -gt "$least_node" ] 2>/dev/null || { [ "$major" -eq "$least_node" ] && [ "$minor" -ge 4 ]; } 2>/dev/null
}

install_node() {
  node_is_new && return
  say 'installing Node ...'
  install_package nodejs-lts
  node_is_new || fail "Node $(node --version 2>/dev/null || echo 'is missing'), expected $least_node.4 or newer; install a newer one, then run this again"
}

is_checkout() { [ -f "$1/package.json" ] && grep -q '"name": "loam"' "$1/package.json"; }

# The folder of the checkout that this script lies in; nothing when it was piped into sh or copied.
own_checkout() {
  folder=$(CDPATH='' cd -- "$(dirname -- "$0")/.." 2>/dev/null && pwd) || return 0
  if is_checkout "$folder" && [ -f "$folder/scripts/install.sh" ]; then echo "$folder"; fi
}

# A package has all that runs, built, and nothing that only builds or tests.
unpack_package() {
  # An update that was cut off here: whatever happens, one of the two is there whole.
  if [ ! -e "$source" ] && [ -e "$source.old" ]; then mv "$source.old" "$source"; fi
  if [ -e "$source" ] && [ ! -f "$source/.package" ]; then fail "$source is there and is no unpacked package of Loam; move it away, or name another folder in LOAM_DIR"; fi
  package=$LOAM_PACKAGE
  case $package in
  http://* | https://*)
    has curl || install_package curl
    package=$source.fetched
    say "fetching Loam ($LOAM_PACKAGE) ..."
    curl -fL -o "$package" "$LOAM_PACKAGE" >&2 || fail 'Loam could not be fetched; run this again when the network is there'
    ;;
  esac
  [ -f "$package" ] || fail "there is no file $package; LOAM_PACKAGE names a package of Loam, or its address"
  of=$(cksum <"$package")
  if [ ! -f "$source/.package" ] || [ "$(cat "$source/.package")" != "$of" ]; then
    part=$source.part/package
    rm -rf "$source.part"
    mkdir -p "$source.part"
    if ! tar -xzf "$package" -C "$source.part" >&2 || ! is_checkout "$part" || [ ! -f "$part/lib/cli/run.js" ]; then
      fail "$LOAM_PACKAGE is damaged, or no package of Loam"
    fi
    # What builds and tests it is not looked for.
    (cd "$part" && npm pkg delete devDependencies scripts >&2)
    printf '%s\n' "$of" >"$part/.package"
    rm -rf "$source.old"
    [ ! -e "$source" ] || mv "$source" "$source.old"
    mv "$part" "$source"
  fi
  # Most of the old one's packages will do for the new one.
  if [ -d "$source.old/node_modules" ] && [ ! -e "$source/node_modules" ]; then mv "$source.old/node_modules" "$source/"; fi
  rm -rf "$source.old" "$source.part" "$source.fetched"
  # Where this was started may be the folder that has gone.
  cd "$source"
}

fetch_source() {
  if [ -n "${LOAM_PACKAGE:-}" ]; then
    unpack_package
    return
  fi
  if is_checkout "$source"; then return; fi
  [ -n "${LOAM_REPOSITORY:-}" ] || fail "there is no checkout of Loam here; run this script inside one, or name its address in LOAM_REPOSITORY, or a package in LOAM_PACKAGE"
  if [ -e "$source" ]; then fail "$source is there and is no checkout of Loam; move it away, or name another folder in LOAM_DIR"; fi
  has git || install_package git
  say 'fetching Loam ...'
  # Under its name only when it is whole.
  rm -rf "$source.part"
  git clone --quiet --depth 1 "$LOAM_REPOSITORY" "$source.part" >&2
  is_checkout "$source.part" || fail "$LOAM_REPOSITORY is no repository of Loam"
  mv "$source.part" "$source"
}

# What an installation of the packages belongs to: their list, Node and the engine's platform.
wanted_packages() { { cat "$source"/package*.json; node --version; uname -m; } | cksum; }

install_packages() {
  done=$source/node_modules/.loam-installed
  if [ -f "$done" ] && [ "$(cat "$done")" = "$(wanted_packages)" ] && [ -f "$source/lib/cli/run.js" ]; then return; fi
  if [ -f "$source/.package" ]; then
    say 'installing packages ...'
    (cd "$source" && npm install --omit=dev --no-audit --no-fund >&2)
  else
    say 'installing packages and building (some minutes on a phone) ...'
    (cd "$source" && npm ci --no-audit --no-fund >&2)
    [ -f "$source/lib/cli/run.js" ] || (cd "$source" && npm run build >&2)
    case $place in
    # More than half of a phone's storage for packages is of those that compile and test.
    termux | proot) (cd "$source" && npm prune --omit=dev --ignore-scripts --no-audit --no-fund >&2) ;;
    esac
  fi
  wanted_packages >"$done.new"
  mv "$done.new" "$done"
}

hash_of() {
  if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

routes="two other ways: a Linux inside Termux (pkg install proot-distro; proot-distro install debian; then this script in it) is as fast; \
LOAM_ENGINE=termux takes Termux's llama-cpp, which is several times slower"

# Termux: the libraries lie in $PREFIX/opt/loam/engine, where Loam looks for them.
install_engine() {
  [ "$place" = termux ] || return 0
  case $(uname -m) in
  aarch64 | arm64) ;;
  *) fail "this is a $(uname -m) system; the engine needs a 64-bit Arm processor and a 64-bit Android" ;;
  esac
  sdk=$(getprop ro.build.version.sdk 2>/dev/null || echo 0)
  if [ "${sdk:-0}" -gt 0 ] && [ "$sdk" -lt 28 ]; then fail "Android's API level is $sdk, expected 28 (Android 9) or newer"; fi
  home=$PREFIX/opt/loam
  if [ "${LOAM_ENGINE:-archive}" = termux ]; then
    rm -rf "$home/engine"
    if [ ! -e "$PREFIX/lib/libllama.so" ]; then install_package llama-cpp; fi
    say "the engine is Termux's llama-cpp: it uses no dot products of the processor and is several times slower than llama.cpp's archive"
    return
  fi
  if [ -f "$home/engine/.from" ] && [ "$(cat "$home/engine/.from")" = "$url" ]; then return; fi
  mkdir -p "$home"
  has curl || install_package curl
  archive=$home/engine.tar.gz
  # A part belongs to one address.
  if [ -f "$archive.of" ] && [ "$(cat "$archive.of")" = "$url" ]; then :; else
    rm -f "$archive.part" "$archive"
    printf '%s\n' "$url" >"$archive.of"
  fi
  if [ ! -f "$archive" ]; then
    say "fetching the engine ($url) ..."
    fetch_archive
    mv "$archive.part" "$archive"
  fi
  found=$(hash_of "$archive")
  if [ -z "$sha256" ]; then
    say "the archive has the SHA-256 $found (none is known to compare it with; its release's page may state one)"
  elif [ "$found" != "$sha256" ]; then
    rm -f "$archive"
    fail "the archive has the SHA-256 $found, expected $sha256; run this again, or see whether LOAM_ENGINE_URL is right"
  fi
  rm -rf "$home/engine.new"
  mkdir -p "$home/engine.new/all"
  if ! tar -xzf "$archive" -C "$home/engine.new/all" >&2; then
    rm -f "$archive"
    fail 'the archive is damaged and was removed; run this again'
  fi
  find "$home/engine.new/all" -name '*.so*' -exec mv {} "$home/engine.new/" \;
  rm -rf "$home/engine.new/all"
  for library in ggml-base ggml llama; do
    [ -f "$home/engine.new/lib$library.so" ] || fail "there is no lib$library.so in $url; $routes"
  done
  # Backends of GPUs give wrong results on phones; Loam would not load them either.
  rm -f "$home"/engine.new/libggml-vulkan* "$home"/engine.new/libggml-opencl* "$home"/engine.new/libggml-hexagon*
  printf '%s\n' "$url" >"$home/engine.new/.from"
  rm -rf "$home/engine"
  mv "$home/engine.new" "$home/engine"
  rm -f "$archive" "$archive.of"
}

# curl's own retries begin anew; ours go on where the connection was lost.
fetch_archive() {
  for _ in 1 2 3; do
    if curl -fL -C - -o "$archive.part" "$url" >&2; then return; fi
    # A part that is whole already is an error too (416).
    if [ -s "$archive.part" ] && tar -tzf "$archive.part" >/dev/null 2>&1; then return; fi
  done
  fail "the engine could not be fetched; what came is kept, so run this again when the network is there. Otherwise $routes"
}

command_path() {
  case $place in
  termux) echo "$PREFIX/bin/loam" ;;
  *) echo "$HOME/.local/bin/loam" ;;
  esac
}

ours() { [ -f "$1" ] && grep -q "^$mark" "$1"; }

install_command() {
  path=$(command_path)
  if [ -e "$path" ] && ! ours "$path"; then
    say "$path is another program and stays; Loam runs as: node $source/bin/loam.js"
    return
  fi
  mkdir -p "$(dirname "$path")"
  # Termux has no /bin/sh; it puts its own there for scripts that it starts.
  printf '#!%s\n%s\nexec node "%s/bin/loam.js" "$@"\n' "$(command -v sh)" "$mark" "$source" >"$path.new"
  chmod 755 "$path.new"
  mv "$path.new" "$path"
  case :$PATH: in
  *":$(dirname "$path"):"*) ;;
  *) say "put $(dirname "$path") on the PATH to call loam by its name" ;;
  esac
}

loam() { node "$source/bin/loam.js" "$@"; }

finish() {
  loam models get "$model" || fail 'the default model could not be fetched; run this again when the network is there'
  loam doctor
  say ''
  if [ -t 1 ] && [ -z "${LOAM_NO_SERVE:-}" ]; then
    say 'starting the page; its link follows (Ctrl-C ends it, loam serve --open starts it again)'
    exec node "$source/bin/loam.js" serve --open
  fi
  say 'ready: loam serve --open starts the page and shows its link'
}

install() {
  install_node
  fetch_source
  install_packages
  install_engine
  install_command
  finish
}

update() {
  is_checkout "$source" || fail "there is no Loam in $source; install it first"
  if [ -z "${LOAM_PACKAGE:-}" ] && [ -d "$source/.git" ] && has git && git -C "$source" rev-parse --abbrev-ref '@{upstream}' >/dev/null 2>&1; then
    git -C "$source" pull --ff-only --quiet >&2 || fail "new commits do not fit onto $source; see git status there"
    # What was compiled is of the commit before.
    rm -f "$source/node_modules/.loam-installed"
  fi
  say 'a page that is open is of the version before: start loam serve again after this'
  install
}

remove() {
  path=$(command_path)
  if ours "$path"; then rm -f "$path"; fi
  if [ "$place" = termux ]; then rm -rf "$PREFIX/opt/loam"; fi
  # A checkout that this script lies in is the person's own.
  if { [ -z "$own" ] || [ -f "$source/.package" ]; } && is_checkout "$source"; then rm -rf "$source" "$source.part" "$source.old" "$source.fetched"; fi
  say "Loam is removed. Models, adapters and the vault are still in ${LOAM_HOME:-$HOME/.loam}: remove that folder if you want them gone."
}

main() {
  place=$(find_place)
  own=$(own_checkout)
  # A checkout is the person's own: a package goes to a folder of its own.
  if [ -n "${LOAM_PACKAGE:-}" ] && [ ! -f "$own/.package" ]; then own=; fi
  source=${own:-${LOAM_DIR:-$HOME/loam}}
  case $source in /*) ;; *) source=$PWD/$source ;; esac
  case ${1:-install} in
  install) install ;;
  update) update ;;
  remove) remove ;;
  *) fail "an unknown word \"$1\", expected install, update or remove" ;;
  esac
}

# One line: an update may exchange this file while it runs, and a piped one that was cut off does nothing.
main "$@"; exit
