#!/bin/sh
# First process of a node: its own writable root over the world's, its own /dev /run /tmp /proc, then the keeper.
# Called by fabric.rs inside new namespaces:
#   node-init.sh NAME ADDRESS MIGRATION-ADDRESS WORK SHARED BROUGHT WORLD "ADDRESS NAME;..."
set -eu
name=$1 address=$2 migration=$3 work=$4 shared=$5 brought=$6 world=$7 hosts=$8

hostname "$name"
base=$work/root
mkdir -p "$base"
# the upper folder may not lie under the lower one, which may be /: hence a tmpfs
mount -t tmpfs -o size=1g,mode=755 node "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=$world,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
cd "$base/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 dev dev
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm          # libqb's rings
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755,size=16m run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p shared node old
mount --bind "$shared" shared
mount --bind "$work/node" node
mkdir -p keeper.d; mount --bind "$brought" keeper.d
pivot_root . old
cd /
umount -l /old
# bash reads it at every login, whatever is to be run: the machine's own may take longer than all of a handoff
rm -f root/.bashrc
# the machine's own logs and cluster state are not this node's
rm -rf /var/lib/pacemaker /var/lib/corosync /var/log/pacemaker /var/log/corosync /var/log/cluster /var/log/xen
mkdir -p run/lock run/sshd run/resource-agents run/crm run/pacemaker var/log/corosync var/log/cluster \
  var/log/xen var/lib/corosync etc/corosync etc/xen root
[ -L var/run ] || { rm -rf var/run; ln -s /run var/run; }
for d in cib pengine blackbox cores; do install -d -o hacluster -g haclient -m 750 var/lib/pacemaker/$d; done
install -d -o hacluster -g haclient -m 770 var/log/pacemaker
install -d -o hacluster -g haclient -m 750 run/crm run/pacemaker
echo "$name" >etc/hostname
{ echo 127.0.0.1 localhost; echo "$hosts" | tr ';' '\n'; } >etc/hosts
: >etc/resolv.conf
ip link set lo up
# the other ends of the cables appear when the fabric has plugged them in
until [ -e /node/wired ]; do sleep 0.01; done
ip address add "$address/24" dev eth0
ip address add "$migration/24" dev eth1
ip link set eth0 up
ip link set eth1 up
exec /keeper.d/keeper node-keeper
