#!/bin/sh
# As much of systemctl as a node of namespaces needs that is set up: which units are enabled and which run. The guard really runs.
set -eu
kept=/var/lib/standin-systemctl
mkdir -p "$kept"
quiet= question= unit=
for word; do
  case $word in
    --quiet | -q) quiet=yes ;;
    -*) ;;
    *) if [ -z "$question" ]; then question=$word; else unit=$word; fi ;;
  esac
done
case $unit in *.*) ;; *) unit=$unit.service ;; esac
file=/usr/lib/systemd/system/$unit
is() { [ -e "$kept/$unit.$1" ]; }
say() { [ -n "$quiet" ] || echo "$1"; }
case $question in
  show)
    if [ -e "$file" ]; then echo "LoadState=loaded"; else echo "LoadState=not-found"; fi
    if is active; then echo "ActiveState=active"; else echo "ActiveState=inactive"; fi
    echo "Id=$unit" ;;
  is-enabled) if is enabled; then say enabled; else say disabled; exit 1; fi ;;
  is-active) if is active; then say active; else say inactive; exit 3; fi ;;
  enable) [ -e "$file" ] && : >"$kept/$unit.enabled" ;;
  start)
    [ -e "$file" ]
    [ "$unit" != xen-handoff-guard.service ] || setsid /usr/sbin/xen-handoff guard </dev/null >/dev/null 2>&1 &
    : >"$kept/$unit.active" ;;
  daemon-reload | list-unit-files | list-units) ;;
  *) echo "systemctl: $question is not here" >&2; exit 1 ;;
esac
