#!/bin/sh
# ocf:standin:Probe - a resource that is a file, and that writes down what its stop finds in the cluster.
# State: /shared/state/NAME.NODE. Knobs: /shared/ctl/RESOURCE.ACTION.{rc,seconds}; /shared/ctl/RESOURCE.capture makes
# stop keep the configuration and the state of that moment, /shared/plan/RESOURCE.NODE.cib.xml.
me=$(uname -n) rsc=${OCF_RESOURCE_INSTANCE:-none} state=/shared/state ctl=/shared/ctl plan=/shared/plan
meta_data() {
  cat <<X
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Probe" version="1.0"><version>1.0</version>
<longdesc lang="en">A file for a resource.</longdesc><shortdesc lang="en">test resource</shortdesc>
<parameters><parameter name="unused" unique="0"><longdesc lang="en">no use</longdesc>
<shortdesc lang="en">no use</shortdesc><content type="string" default=""/></parameter></parameters>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="40s"/>
<action name="monitor" timeout="20s" interval="5s" depth="0"/>
<action name="promote" timeout="20s"/><action name="demote" timeout="20s"/>
<action name="migrate_to" timeout="20s"/><action name="migrate_from" timeout="20s"/>
<action name="meta-data" timeout="5s"/><action name="validate-all" timeout="5s"/></actions>
</resource-agent>
X
}
[ "$1" = meta-data ] && { meta_data; exit 0; }
mkdir -p $state $ctl $plan
file=$state/${rsc%%:*}.$me
[ -e $ctl/$rsc.$1.seconds ] && sleep "$(cat $ctl/$rsc.$1.seconds)"
if [ "$1" = stop ] && [ -e $ctl/$rsc.capture ]; then
  cibadmin --query >$plan/$rsc.$me.cib.tmp
  mv $plan/$rsc.$me.cib.tmp $plan/$rsc.$me.cib.xml
fi
[ -e $ctl/$rsc.$1.rc ] && exit "$(cat $ctl/$rsc.$1.rc)"
case $1 in
start) echo started >$file ;;
stop) rm -f $file ;;
promote) echo promoted >$file ;;
demote) echo started >$file ;;
migrate_to) [ -e $file ] || exit 1; mv $file $state/${rsc%%:*}.$OCF_RESKEY_CRM_meta_migrate_target ;;
migrate_from) [ -e $file ] || exit 1 ;;
monitor)
  [ -e $file ] || exit 7
  [ "$(cat $file)" = promoted ] && exit 8 ;;
validate-all) ;;
*) exit 3 ;;
esac
exit 0
