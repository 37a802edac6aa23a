#!/bin/sh
# fence_fabric - asks the test to cut a node's power: a request is a file in /shared/power, the test answers with another.
while read -r line; do
  case $line in action=*) action=${line#*=} ;; port=* | plug=* | nodename=*) port=${line#*=} ;; esac
done
[ "${1:-}" = -o ] && action=$2
power=/shared/power
case ${action:-reboot} in
metadata)
  cat <<X
<?xml version="1.0" ?>
<resource-agent name="fence_fabric" shortdesc="power switch of the test fabric"><longdesc>test</longdesc>
<parameters><parameter name="port" unique="0" required="1"><content type="string"/><shortdesc lang="en">node</shortdesc></parameter>
<parameter name="action" unique="0" required="1"><content type="string" default="reboot"/><shortdesc lang="en">action</shortdesc></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="list"/>
<action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
X
  ;;
off | reboot)
  mkdir -p $power
  rm -f "$power/done.$port"
  : >"$power/request.$port"
  n=0
  until [ -e "$power/done.$port" ]; do
    n=$((n + 1)); [ $n -lt 200 ] || exit 1
    sleep 0.1
  done
  ;;
on | status | list | monitor) ;;
*) exit 1 ;;
esac
exit 0
