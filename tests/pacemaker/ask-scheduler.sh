# ask-scheduler.sh RESOURCE NODE FILES - where a resource ends up whose stop on NODE is under way, by FILES.cib.xml.
#
# The stop is taken as done, then the scheduler plans what follows: its transition graph is FILES.graph.xml, the CIB as it is when all
# of that has been done FILES.after.xml, and what is said about the place FILES.place.txt. All of this is in every Pacemaker since 1.1.
set -e
cd /tmp
crm_simulate --xml-pipe --op-inject "${1}_stop_0@$2=0" --save-output $3.stopped.xml <$3.cib.xml >$3.inject.txt 2>&1
crm_simulate --xml-file $3.stopped.xml --simulate --save-graph $3.graph.xml --save-output $3.after.xml \
  >$3.simulate.txt 2>&1
# a resource that is being deleted is an error to it
CIB_file=$3.after.xml crm_resource --resource "$1" --locate >$3.place.txt 2>&1 || echo "status: $?" >>$3.place.txt
