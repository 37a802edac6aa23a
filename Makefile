# The front door. Every target installs what it needs by apt when run as root on Debian; on anything else it lists the
# commands that are missing and stops with exit status 2.
#
#   make              build the release executable
#   make demo         a handoff on real Xen, beside the stock agent's reboot: a table, a plot, target/demo/report.json
#   make check        formatting, lints, unit tests, real Pacemaker in namespaces, ocf-tester and its like
#   make faults       every fault of tests/faults under real Pacemaker in namespaces (ARGS=WORD: those with the word)
#   make soak         random cluster events, four domains, audits after each (SEED=N EVENTS=N); make soak-short: the short form
#   make model        the protocol's own step function, searched in a model of hosts, xl, Pacemaker and network
#   make mutants      the same with the protocol broken, one place at a time: a promise must notice each
#   make heartbeat    the stories of classic Heartbeat, on real Heartbeat in namespaces
#   make lab          every story on real Xen nodes in QEMU (ARGS=WORD: those whose name has the word; NODES=3: three nodes)
#   make lab-heartbeat  those under classic Heartbeat: `heartbeat stop` on the owner, standby, failback
#   make bench        the bench tools on the lab: round trips of six ways to move a domain, and memory; doc/results.md
#                     (ARGS=WORD: what has the word in its name)
#   make bench-check  the bench tools themselves, with real ping, httperf and xen-handoff-load in namespaces
#   make load         xen-handoff-load, the guest's side of the bench: one static executable, target/load/xen-handoff-load
#   make install      into DESTDIR (PREFIX=/usr); install-load: xen-handoff-load, which is for guests, not for nodes

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo

SBINDIR = $(PREFIX)/sbin
OCFDIR  = $(PREFIX)/lib/ocf/resource.d/handoff
MANDIR  = $(PREFIX)/share/man
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
UNITDIR = $(PREFIX)/lib/systemd/system
HEARTBEATDIR = /etc/ha.d
BINARY  = target/release/xen-handoff
# Static, since a small guest has no libraries. x86_64-unknown-linux-musl does as well, where rustup has it.
LOAD_TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
LOAD    = target/load/xen-handoff-load

.PHONY: all build toolchain demo check fast lint ocf-check faults soak soak-short model mutants heartbeat lab lab-smoke lab-heartbeat bench bench-check load install install-load uninstall man clean

all: build

build: toolchain
	@tests/need build
	$(CARGO) build --release --locked

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "missing command: $(CARGO) (Rust 1.88 or later, from rustup)" >&2; exit 2; }

lint: toolchain
	@tests/need build lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) run --quiet --locked --example manual
	git diff --exit-code -- man ocf
	mandoc -T lint -W warning man/*.7 man/*.8
	groff -man -ww -z -Tutf8 man/*.7 man/*.8

fast:
	$(CARGO) test --locked --workspace --lib --bins

check: lint build
	@tests/need check ocf bench
	$(CARGO) build --locked -p xen-handoff-load
	$(CARGO) test --locked
	$(CARGO) test --locked -p xen-handoff-load
	tests/ocf-check

ocf-check: build
	@tests/need ocf
	tests/ocf-check

# Several clusters at once. Ends with one line that counts.
faults: toolchain
	@tests/need build check faults
	$(CARGO) test --locked --test pacemaker -- faults $(ARGS)

# The seed is printed first, and makes the same events again.
SEED   ?=
EVENTS ?= 200
soak: toolchain
	@tests/need build check
	$(CARGO) test --locked --test pacemaker -- soak seed=$(SEED) events=$(EVENTS)

soak-short:
	@$(MAKE) --no-print-directory soak EVENTS=60

# In a release build, since it is a search: some minutes to build once, about two to run.
model: toolchain
	@tests/need build
	$(CARGO) test --release --locked --test model -- quick

mutants: toolchain
	@tests/need build
	$(CARGO) test --release --locked --test model -- mutants

# Real Heartbeat in namespaces: some seven minutes.
heartbeat: build
	@tests/need check heartbeat
	$(CARGO) test --locked --test heartbeat -- $(ARGS)

NODES ?= 2
lab: build
	@tests/need lab
	XEN_HANDOFF_LAB=1 XEN_HANDOFF_LAB_NODES=$(NODES) $(CARGO) test --locked --test lab -- $(ARGS)

# The part of it that must hold before a change lands: boot, handoff, standby, reclaim.
lab-smoke:
	@$(MAKE) --no-print-directory lab ARGS=handoff_

lab-heartbeat:
	@$(MAKE) --no-print-directory lab ARGS=heartbeat_

load: toolchain
	@tests/need build
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --locked -p xen-handoff-load --target $(LOAD_TARGET)
	install -D -m 0755 target/$(LOAD_TARGET)/release/xen-handoff-load $(LOAD)

# One that is not run at once is said so: namespaces need root.
bench-check: toolchain
	@tests/need build bench
	$(CARGO) build --locked -p xen-handoff-load
	$(CARGO) test --locked --test bench

bench: build load
	@tests/need lab bench
	XEN_HANDOFF_LAB=bench $(CARGO) test --locked --test lab -- $(ARGS)

demo: build
	@tests/need lab
	XEN_HANDOFF_LAB=demo $(CARGO) test --locked --test lab

# The manual pages and ocf/Xen.xml are made from the tables in the code and committed.
man:
	$(CARGO) run --quiet --locked --example manual

install: build
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(OCFDIR) $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8 \
		$(DESTDIR)$(TMPFILESDIR) $(DESTDIR)$(UNITDIR)/session-.scope.d \
		$(DESTDIR)$(HEARTBEATDIR)/resource.d $(DESTDIR)$(HEARTBEATDIR)/rc.d
	install -m 0755 $(BINARY) $(DESTDIR)$(SBINDIR)/xen-handoff
	ln -sf ../../../../sbin/xen-handoff $(DESTDIR)$(OCFDIR)/Xen
	ln -sf $(SBINDIR)/xen-handoff $(DESTDIR)$(HEARTBEATDIR)/resource.d/xen-handoff
	ln -sf $(SBINDIR)/xen-handoff $(DESTDIR)$(HEARTBEATDIR)/rc.d/stonith
	install -m 0644 packaging/tmpfiles.d/xen-handoff.conf $(DESTDIR)$(TMPFILESDIR)/xen-handoff.conf
	install -m 0644 packaging/systemd/xen-handoff-guard.service $(DESTDIR)$(UNITDIR)/
	install -m 0644 packaging/systemd/session-.scope.d/50-xen-handoff.conf $(DESTDIR)$(UNITDIR)/session-.scope.d/
	install -m 0644 man/ocf_handoff_Xen.7 $(DESTDIR)$(MANDIR)/man7/
	install -m 0644 man/xen-handoff.8 $(DESTDIR)$(MANDIR)/man8/

install-load: load
	install -D -m 0755 $(LOAD) $(DESTDIR)$(PREFIX)/bin/xen-handoff-load

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/xen-handoff $(DESTDIR)$(OCFDIR)/Xen $(DESTDIR)$(HEARTBEATDIR)/resource.d/xen-handoff \
		$(DESTDIR)$(HEARTBEATDIR)/rc.d/stonith \
		$(DESTDIR)$(TMPFILESDIR)/xen-handoff.conf \
		$(DESTDIR)$(UNITDIR)/xen-handoff-guard.service \
		$(DESTDIR)$(UNITDIR)/session-.scope.d/50-xen-handoff.conf \
		$(DESTDIR)$(MANDIR)/man7/ocf_handoff_Xen.7 $(DESTDIR)$(MANDIR)/man8/xen-handoff.8
	-rmdir $(DESTDIR)$(OCFDIR)

clean:
	$(CARGO) clean
