#!/bin/sh
# Stands in a node for everything that resets a host (reboot, init 6, ...): writes down how it was called, and waits for the test to
# cut the node's power.
echo "${0##*/} $*" >>"/shared/reset-of-itself.$(uname -n)"
exec tail -f /dev/null
