#!/bin/bash
# kernel.sh OUT: x0's kernel, by guest.config beside this, from the sources of Debian 12's and with its compiler, into OUT/vmlinuz.
#
# The same on nodes of any suite: what is tried is the hypervisor that moves it. As root; some three minutes on two idle cores.
set -euo pipefail
out=$1
here=$(dirname "$(readlink -f "$0")")
started=$SECONDS
say() { echo "kernel: $* ($((SECONDS - started)) s)"; }
in_root() { chroot "$root" env LC_ALL=C "$@"; }
. "$here/sources.sh"

root=$out/root
trap 'rm -rf "$root"' EXIT
say "fetching sources and compiler"
sources_of bookworm "$out"
tools=linux-source-6.1,gcc,libc6-dev,make,flex,bison,bc,libelf-dev,xz-utils
mmdebstrap --quiet --mode=root --variant=minbase --format=directory --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$tools" bookworm "$root" "$sources" 2>&1 | sed 's/^/kernel: /'
mkdir "$root/linux"
# 300 MB of it describe graphics cards.
in_root tar -xf /usr/src/linux-source-6.1.tar.xz -C /linux --strip-components=1 --exclude='*/gpu/drm/amd/include/*'
cp "$here/guest.config" "$root/guest.config"
in_root make -s -C /linux allnoconfig KCONFIG_ALLCONFIG=/guest.config
# An option that does not exist, or lacks what it depends on, is left out without a word.
missing=$(grep '^CONFIG_' "$root/guest.config" | grep -vxFf "$root/linux/.config" || true)
[ -z "$missing" ] || { echo "kernel: guest.config asks for what this kernel does not give:" "$missing" >&2; exit 1; }
say "building it"
in_root make -s -C /linux -j"$(nproc)" bzImage
cp "$root/linux/arch/x86/boot/bzImage" "$out/vmlinuz"
say "done"
