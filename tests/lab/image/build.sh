#!/bin/bash
# build.sh OUT SUITE KERNEL: the lab's image, from the packages of that suite of Debian, into the directory OUT; x0 gets that kernel.
#
#   root.raw            the nodes' root file system (each node runs on an overlay of it)
#   xen vmlinuz initrd  what QEMU loads: the hypervisor, dom0's kernel, a small initrd
#   tester_key          logs the harness in as root; known_hosts names the nodes' host key
#
# The harness calls it (tests/lab/image.rs) and keys the result by what went in; by hand it needs root.
set -euo pipefail
out=$1 suite=$2 kernel=$3
here=$(dirname "$(readlink -f "$0")")
root=$out/root
started=$SECONDS
say() { echo "image: $* ($((SECONDS - started)) s)"; }

. "$here/sources.sh"
mkdir -p "$out"
rm -rf "$root"
sources_of "$suite" "$out"
packages=$(sed 's/#.*//' "$here/packages" | xargs | tr ' ' ,)

say "installing the packages, about two minutes"
# What a node never reads stays out: it would only make the disk and its snapshots bigger.
exclude=()
for path in share/doc share/man share/locale share/info share/qemu/edk2 share/qemu/firmware lib/ipxe; do
    exclude+=(--dpkgopt="path-exclude=/usr/$path*/*")
done
# A package has its modules below /lib or, since trixie, below /usr/lib.
for path in drivers/gpu drivers/media drivers/infiniband drivers/net/wireless drivers/net/ethernet sound; do
    exclude+=(--dpkgopt="path-exclude=/lib/modules/*/kernel/$path/*" --dpkgopt="path-exclude=/usr/lib/modules/*/kernel/$path/*")
done
mmdebstrap --quiet --mode=root --variant=minbase --format=directory "${exclude[@]}" \
    --aptopt='Apt::Install-Recommends "false"' --include="$packages" "$suite" "$root" "$sources" 2>&1 |
    sed 's/^/image: /'

say "configuring the node"
cp -a "$here/node/." "$root/"
chown -R root:root "$root/etc/ssh" "$root/etc/systemd/system"/lab-* "$root/usr/local/sbin"
rm -f "$root/etc/hostname" "$root/etc/fstab" "$root"/etc/ssh/ssh_host_*   # the name comes from the kernel command line
# A machine id that is there keeps systemd from taking this for a first boot, which would enable every service again.
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
: >"$root/etc/resolv.conf"
in_root() { chroot "$root" "$@"; }
# The cluster is the tests' to start; the rest only costs time and noise.
for unit in corosync pacemaker heartbeat xendomains pcsd pcsd-ruby logd open-iscsi iscsid.socket systemd-networkd systemd-networkd.socket \
    e2scrub_reap systemd-pstore apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    getty@tty1 remote-fs.target remote-cryptsetup.target remote-veritysetup.target; do
    in_root systemctl --quiet disable "$unit" 2>/dev/null || say "no $unit to disable"
done
# Coldplug loads drivers for hardware that only QEMU's default PC has; what the node needs is in modules-load.d.
in_root systemctl --quiet mask systemd-udev-trigger systemd-binfmt serial-getty@hvc0 systemd-networkd-wait-online
in_root systemctl --quiet enable lab-network lab-sampler ssh

say "making the keys"
ssh-keygen -q -t ed25519 -N '' -C lab-node -f "$root/etc/ssh/ssh_host_ed25519_key"
rm -f "$out/tester_key" "$out/tester_key.pub"
ssh-keygen -q -t ed25519 -N '' -C lab-tester -f "$out/tester_key"
install -d -m 700 "$root/root/.ssh"
install -m 600 "$out/tester_key.pub" "$root/root/.ssh/authorized_keys"
cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub" >"$out/host_key.pub"

say "making the initrd and the guest"
release=$(ls "$root/lib/modules")
modules=$root/lib/modules/$release
gunzip -c "$root"/boot/xen-[0-9]*-amd64.gz >"$out/xen"
cp "$root/boot/vmlinuz-$release" "$out/vmlinuz"

# with_modules TREE MODULE...: copies the modules and what they need into TREE, lists them in TREE/modules in loading order.
with_modules() {
    local tree=$1 name path
    shift
    for name in "$@"; do
        chroot "$root" modprobe --set-version "$release" --show-depends "$name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/modules.paths"
    while read -r path; do
        cp "$root$path" "$tree/lib/"
        path=${path##*/}
        # Since trixie they are compressed; the whole tree is, and unpacking twice takes its time under emulation.
        [ "$path" = "${path%.xz}" ] || xz -d "$tree/lib/$path"
        echo "/lib/${path%.xz}"
    done <"$tree/modules.paths" >"$tree/modules"
    rm "$tree/modules.paths"
}
tree_with_busybox() {
    mkdir -p "$1"/{bin,sbin,lib,dev,proc,sys,www}
    cp "$root/bin/busybox" "$1/bin/busybox"
    mknod -m 600 "$1/dev/console" c 5 1
}
pack() { (cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc | gzip -1); }

work=$(mktemp -d "$out/work.XXXXXX")
tree_with_busybox "$work/initrd"
install -m 755 "$here/initrd/init" "$work/initrd/init"
with_modules "$work/initrd" virtio_pci virtio_blk virtio_net crc32c_generic libcrc32c ext4
pack "$work/initrd" >"$out/initrd"

tree_with_busybox "$work/guest"
install -m 755 "$here/guest/init" "$work/guest/init"
install -m 755 "$here/guest/poweroff" "$here/guest/reboot" "$work/guest/sbin/"
install -D -m 755 "$here/guest/stubborn" "$work/guest/cgi-bin/stubborn"
# Static: the guest has no libraries.
rustc --edition 2024 -O -C target-feature=+crt-static -C panic=abort -C strip=symbols -o "$work/guest/bin/writer" \
    "$here/guest/writer.rs"
install -d "$root/var/lib/xen/x0" "$root/var/lib/xen/debian"
cp "$kernel" "$root/var/lib/xen/x0/vmlinuz"
pack "$work/guest" >"$root/var/lib/xen/x0/initramfs"
# The same for Debian's own kernel, which a guest of a story and those of the bench have.
with_modules "$work/guest" xen-netfront xen-blkfront
cp "$out/vmlinuz" "$root/var/lib/xen/debian/vmlinuz"
pack "$work/guest" >"$root/var/lib/xen/debian/initramfs"

say "writing the disk"
rm -f "$root"/boot/initrd.img-* "$root"/var/cache/apt/*.bin
rm -rf "$root"/var/lib/apt/lists/*
truncate -s 3G "$out/root.raw.new"
mke2fs -q -F -t ext4 -L lab -d "$root" "$out/root.raw.new"
mv "$out/root.raw.new" "$out/root.raw"
rm -rf "$root" "$work"
say "done"
