#!/bin/sh
# The fabric's power switch as a plugin of stonith(8), external type: asks the test to cut a node's power and waits until it has.
case $1 in
  gethosts) grep '^node ' /etc/ha.d/ha.cf | cut -d' ' -f2 ;;
  reset | off)
    : >"/shared/reset.$2"
    until [ -e "/shared/reset.$2.done" ]; do sleep 0.1; done
    ;;
  on | status) ;;
  getconfignames) echo hostname ;;
  getinfo-devid | getinfo-devname | getinfo-devdescr) echo "the fabric's power switch" ;;
  getinfo-devurl) echo none ;;
  getinfo-xml) echo '<parameters><parameter name="hostname" unique="1" required="1"><content type="string"/></parameter></parameters>' ;;
  *) exit 1 ;;
esac
exit 0
