#!/usr/bin/env bash
# Installs what building and running needs and is missing: a C compiler, pkg-config, Open MPI,
# hwloc and libclang. Run it as often as you like; it says what it does.
#
#   scripts/setup.sh           install what is missing (Debian, Ubuntu; as root or with sudo)
#   scripts/setup.sh --check   only say what is missing; exit 1 if anything is
set -euo pipefail

packages=()
have() { command -v "$1" >/dev/null 2>&1; }
need() { # need PACKAGE COMMAND…: the package, unless the command succeeds
    local package=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "setup: $package: there"
    else
        echo "setup: $package: missing"
        packages+=("$package")
    fi
}
# The library itself (libclang-cpp is another one) and its own headers.
libclang_there() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    any_file /usr/lib/*/libclang.so* /usr/lib/*/libclang-[0-9]*.so* \
        /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so* &&
        any_file /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h
}
any_file() { # any_file PATH…: whether one of these, patterns expanded, is there
    local path
    for path in "$@"; do [ -e "$path" ] && return 0; done
    return 1
}

need gcc have cc
need make have make
need pkg-config have pkg-config
need openmpi-bin have mpirun
need libopenmpi-dev have mpicc
need libhwloc-dev pkg-config --exists hwloc
need libclang-dev libclang_there

if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    echo "setup: cargo is in $HOME/.cargo/bin: add it to PATH"
fi
if ! have cargo && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "setup: cargo: missing; install Rust 1.91 or later with rustup (https://rustup.rs)" >&2
    exit 1
fi
if [ ${#packages[@]} -eq 0 ]; then
    echo "setup: nothing to install"
    exit 0
fi
if [ "${1:-}" = --check ]; then
    exit 1
fi
if ! have apt-get; then
    echo "setup: no apt-get here: install the equivalents of: ${packages[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    have sudo || { echo "setup: neither root nor sudo: ask for: ${packages[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "setup: apt-get install ${packages[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
echo "setup: done"
