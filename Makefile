# The front door. Every target installs what it needs by apt when run as root on Debian; on anything else it lists the
# commands that are missing and stops with exit status 2.
#
#   make              build the release executable
#   make demo         a handoff on real Xen, beside the stock agent's reboot: a table, a plot, target/demo/report.json
#   make check        formatting, lints, unit tests, real Pacemaker in namespaces, ocf-tester and its like
#   make faults       every fault of tests/faults under real Pacemaker in namespaces (ARGS=WORD: those with the word)
#   make soak         random cluster events, four domains, audits after each (SEED=N EVENTS=N); make soak-short: the short form
#   make worlds       tests/pacemaker and ocf-check on the Corosync and Pacemaker of Debian bullseye, bookworm, trixie and sid, the agent
#                     being the package's (WORLD=trixie: that one; PARTS='forms stories faults ocf': some; ARGS=WORD: what has the word)
#   make captures     what the tools of a world print, for the unit tests: tests/captured/pacemaker-VERSION (WORLD=trixie: that one)
#   make model        the protocol's own step function, searched in a model of hosts, xl, Pacemaker and network
#   make mutants      the same with the protocol broken, one place at a time: a promise must notice each
#   make fuzz         what nobody ever wrote, to every reader of text from outside, the server and the stream (TIME=300 SEED=N;
#                     ARGS=only=WORD: those whose name has the word)
#   make heartbeat    the stories of classic Heartbeat, on real Heartbeat in namespaces
#   make ansible-check  the role of packaging/ansible, by Ansible on nodes of namespaces: new nodes, a second run, check mode, what is
#                     lost (ARGS=show: with what Ansible says); ends with a line that counts
#   make lab          every story on real Xen nodes in QEMU, from the packages (ARGS=WORD: those whose name has the word; NODES=3: three nodes;
#                     WORLD=trixie: Debian 13 on them; WORLD=bookworm,trixie: one of each, for the upgrade of the distribution)
#   make lab-heartbeat  those under classic Heartbeat: `heartbeat stop` on the owner, standby, failback
#   make bench        xen-handoff-bench on the lab: round trips of six ways to move a domain, and memory; doc/results.md
#                     (ARGS=WORD: what has the word in its name)
#   make bench-agent  what the agent's actions cost beside ocf:heartbeat:Xen and a bare xl list, here and on a lab node
#   make bench-overhead  what of a handoff is not its stream, under real Pacemaker in namespaces, for 2, 8 and 16 nodes, 1 and 20 domains:
#                     target/bench/overhead.json (ARGS='short': 2 nodes alone; ARGS='nodes=2,8 domains=1 silent=0 runs=4 trace'; ARGS='evacuation':
#                     20 domains at once by 1, 2 and 4 slots, against the simulation of doc/evacuation.md)
#   make bench-stream  4 GiB through sender, relay, ssh and receiver against `ssh HOST cat`, with zstd, with a limit, by cipher:
#                     rows in the same file (ARGS='mib=1024 runs=1')
#   make bench-check  xen-handoff-bench itself, with real ping, httperf and xen-handoff-load in namespaces
#   make load         xen-handoff-load, the guest's side of the bench: one static executable, target/load/xen-handoff-load
#   make install      into DESTDIR (PREFIX=/usr); install-bench: xen-handoff-bench, for whichever machine measures; install-load:
#                     xen-handoff-load, which is for guests, not for nodes
#   make deb          Debian's packages, one for Debian 11 to 13: target/deb (DEB_RELEASE=2: another release of the same version)
#   make deb-check    lintian; the packages installed, upgraded, removed and purged in clean roots, rebuilt without network, compared
#   make rpm          source, binary and debuginfo packages for EL 7, 8 and 9, and what they are made of (CycloneDX): target/rpm
#                     (RPM_SIGN_KEY=NAME: signed with this key of gpg's; RPM_RELEASE=2: another release of the same version)
#   make rpm-packages the packages alone, and only if something in them has changed; make rpm-previous: those of an older build,
#                     which a rolling upgrade on the lab begins with (RPM_PREVIOUS=COMMIT)
#   make rpm-check    the packages installed, upgraded, erased, rebuilt without network, compared; ends with a line that counts

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo

BUILT   = target/release
SBINDIR = $(PREFIX)/sbin
OCFDIR  = $(PREFIX)/lib/ocf/resource.d/handoff
MANDIR  = $(PREFIX)/share/man
UNITDIR = $(PREFIX)/lib/systemd/system
SYSCONFDIR = /etc
HEARTBEATDIR = $(SYSCONFDIR)/ha.d
# On Debian: /etc/default, and vendor-completions
SETTINGSDIR = $(SYSCONFDIR)/sysconfig
ZSHDIR = $(PREFIX)/share/zsh/site-functions

# Tests with targets of their own here, which "all" leaves out
ASIDE = model heartbeat rpm deb fuzz

# What goes where: FILE:FOLDER. The list of the package, too.
PROGRAMS = $(BUILT)/xen-handoff:$(SBINDIR)
BENCH_PROGRAMS = $(BUILT)/xen-handoff-bench:$(PREFIX)/bin
# In a package of its own, as its command is
BENCH_PAGE = man/xen-handoff-bench.8
DATA = packaging/tmpfiles.d/xen-handoff.conf:$(PREFIX)/lib/tmpfiles.d \
	packaging/systemd/xen-handoff-guard.service:$(UNITDIR) \
	packaging/systemd/xen-handoff-metrics.service:$(UNITDIR) \
	packaging/systemd/xen-handoff-metrics.timer:$(UNITDIR) \
	packaging/systemd/session-.scope.d/50-xen-handoff.conf:$(UNITDIR)/session-.scope.d \
	packaging/systemd/resource-agents-deps.target.d/xen-handoff.conf:$(UNITDIR)/resource-agents-deps.target.d \
	packaging/systemd/xen-handoff.catalog:$(PREFIX)/lib/systemd/catalog \
	packaging/examples/guard-confined.conf:$(PREFIX)/share/xen-handoff \
	packaging/monitoring/alerts.yml:$(PREFIX)/share/xen-handoff \
	packaging/monitoring/grafana.json:$(PREFIX)/share/xen-handoff \
	packaging/systemd/preset/80-xen-handoff.preset:$(PREFIX)/lib/systemd/system-preset \
	packaging/completion/bash/xen-handoff:$(PREFIX)/share/bash-completion/completions \
	packaging/completion/zsh/_xen-handoff:$(ZSHDIR) \
	packaging/completion/fish/xen-handoff.fish:$(PREFIX)/share/fish/vendor_completions.d \
	$(foreach page,$(wildcard man/*.5),$(page):$(MANDIR)/man5) \
	$(foreach page,$(wildcard man/*.7),$(page):$(MANDIR)/man7) \
	$(foreach page,$(filter-out $(BENCH_PAGE),$(wildcard man/*.8)),$(page):$(MANDIR)/man8)
BENCH_DATA = packaging/completion/bash/xen-handoff-bench:$(PREFIX)/share/bash-completion/completions \
	packaging/completion/zsh/_xen-handoff-bench:$(ZSHDIR) \
	packaging/completion/fish/xen-handoff-bench.fish:$(PREFIX)/share/fish/vendor_completions.d \
	$(BENCH_PAGE):$(MANDIR)/man8
# Not overwritten: an administrator's.
SETTINGS = packaging/sysconfig/xen-handoff:$(SETTINGSDIR)
LINKS = $(OCFDIR)/Xen $(HEARTBEATDIR)/resource.d/xen-handoff $(HEARTBEATDIR)/rc.d/stonith
source = $(firstword $(subst :, ,$(1)))
into = $(lastword $(subst :, ,$(1)))
installed = $(call into,$(1))/$(notdir $(call source,$(1)))
# $(call put,MODE,PAIRS)
put = $(foreach pair,$(2),install -D -p -m $(1) $(call source,$(pair)) $(DESTDIR)$(call installed,$(pair)) &&) true

# Static, since a small guest has no libraries. x86_64-unknown-linux-musl does as well, where rustup has it.
LOAD_TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
LOAD    = target/load/xen-handoff-load

.PHONY: all build toolchain demo check fast lint ocf-check faults soak soak-short worlds captures model mutants fuzz heartbeat lab lab-smoke \
	lab-quick lab-hold lab-heartbeat bench bench-agent bench-check bench-overhead bench-stream ansible-check load install install-files install-bench install-bench-files install-load uninstall man \
	rpm rpm-packages rpm-previous rpm-check deb deb-check clean

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
	$(CARGO) clippy --locked $(ASIDE:%=--test %) -- -D warnings
	@$(MAKE) --no-print-directory man
	git diff --exit-code -- man ocf packaging/completion packaging/sysconfig packaging/systemd README.md doc/plots
	mandoc -T lint -W warning man/*.5 man/*.7 man/*.8
	groff -man -ww -z -Tutf8 man/*.5 man/*.7 man/*.8

fast:
	$(CARGO) test --locked --workspace --lib --bins

check: lint build
	@tests/need check ocf bench host
	$(CARGO) build --locked -p xen-handoff-load
	$(CARGO) test --locked --no-fail-fast
	$(CARGO) test --locked -p xen-handoff-bench
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

# The root of a world is made once, some three minutes.
PARTS ?=
worlds: $(if $(XEN_HANDOFF_INSTALL),toolchain,rpm-packages)
	@WORLD='$(WORLD)' ARGS='$(ARGS)' tests/worlds/run $(PARTS)

captures: toolchain
	@tests/need build worlds
	for suite in $(or $(WORLD),bullseye bookworm trixie sid); do for of in plan:: tools::; do \
		PACEMAKER_CAPTURE=1 XEN_HANDOFF_WORLD=$$suite $(CARGO) test --locked --test pacemaker -- $$of || exit; done; \
		root=$$(tests/worlds/root $$suite) && version=$$(chroot $$root pacemakerd --version | sed -n 's/^Pacemaker \([0-9.]*\).*/\1/p') && \
		tests/captured/ask tests/captured/pacemaker-$$version $$root || exit; done

# In a release build, since it is a search: some minutes to build once, about two to run.
model: toolchain
	@tests/need build
	$(CARGO) test --profile search --locked --test model -- quick

mutants: toolchain
	@tests/need build
	$(CARGO) test --profile search --locked --test model -- mutants

# The seed is printed first, and makes the same inputs again. What failed is kept in tests/fuzz/corpus.
TIME ?= 300
fuzz: toolchain
	@tests/need build
	$(CARGO) build --profile search --locked --example xl-standin
	$(CARGO) test --profile search --locked --test fuzz -- time=$(TIME) $(if $(SEED),seed=$(SEED)) $(ARGS)

# Real Heartbeat in namespaces: some four minutes.
heartbeat: build
	@tests/need check heartbeat
	$(CARGO) test --locked --test heartbeat -- $(ARGS)

# From the packages, made before if the sources have changed since.
NODES ?= 2
WORLD ?=
export XEN_HANDOFF_LAB_WORLD = $(WORLD)
lab: deb $(if $(or $(if $(ARGS),,all),$(findstring upgrade,$(ARGS))),rpm-packages rpm-previous)
	@tests/need lab
	XEN_HANDOFF_LAB=1 XEN_HANDOFF_LAB_NODES=$(NODES) $(CARGO) test --locked --test lab -- $(ARGS)

# The stories that have found most for their time: ten minutes, where the nodes' snapshots are there already.
lab-quick: deb
	@tests/need lab
	XEN_HANDOFF_LAB=quick XEN_HANDOFF_LAB_NODES=$(NODES) $(CARGO) test --locked --test lab

# The nodes, the cluster and x0 for a person to work with; ends with ^C.
lab-hold: deb
	@tests/need lab
	XEN_HANDOFF_LAB=hold XEN_HANDOFF_LAB_NODES=$(NODES) $(CARGO) test --locked --test lab

# The part of it that must hold before a change lands: boot, a handoff with the owner leaving, one by a standby.
lab-smoke:
	@$(MAKE) --no-print-directory lab ARGS=handoff_when_pacemaker_stops
	@$(MAKE) --no-print-directory lab ARGS=handoff_on_standby

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
	$(CARGO) test --locked -p xen-handoff-bench --test bench

bench: deb load
	@tests/need lab bench
	XEN_HANDOFF_LAB=bench $(CARGO) test --locked --test lab -- $(ARGS)

bench-agent: deb
	@tests/need lab cost
	$(CARGO) build --locked --example xl-standin --example agent-cost
	XEN_HANDOFF_LAB=bench-agent $(CARGO) test --locked --test lab

# The release executable, laid out as `make install` does. No time is asserted.
BENCH_TREE = target/bench/tree
bench-overhead: build
	@tests/need check
	rm -rf $(BENCH_TREE)
	@$(MAKE) --no-print-directory install-files DESTDIR=$(BENCH_TREE)
	XEN_HANDOFF_INSTALL=$(CURDIR)/$(BENCH_TREE) $(CARGO) test --locked --test pacemaker -- overhead $(ARGS)

# Four minutes. What the package lays out, with the settings where Debian has them.
ANSIBLE_TREE = target/ansible/tree
ansible-check: build
	@tests/need check ansible
	rm -rf $(ANSIBLE_TREE)
	@$(MAKE) --no-print-directory install-files DESTDIR=$(ANSIBLE_TREE) SETTINGSDIR=/etc/default
	XEN_HANDOFF_INSTALL=$(CURDIR)/$(ANSIBLE_TREE) $(CARGO) test --locked --test pacemaker -- ansible $(ARGS)

bench-stream:
	@$(MAKE) --no-print-directory bench-overhead ARGS='stream $(ARGS)'

demo: deb
	@tests/need lab
	XEN_HANDOFF_LAB=demo $(CARGO) test --locked --test lab

# The manual pages, the settings file, the completions and ocf/Xen.xml are made from the tables in the code, the operators' page and
# journald's catalogue from doc/messages.txt, the picture of the ways to move a guest from doc/results.md; all are committed.
man: toolchain
	$(CARGO) run --quiet --locked --example manual
	$(CARGO) run --quiet --locked -p xen-handoff-bench --example bench-manual

install: build install-files

# What is built already. Links are relative, so that they hold below a DESTDIR as well.
install-files:
	$(call put,0755,$(PROGRAMS))
	$(call put,0644,$(DATA))
	$(foreach pair,$(SETTINGS),{ test -e $(DESTDIR)$(call installed,$(pair)) || \
		install -D -p -m 0644 $(call source,$(pair)) $(DESTDIR)$(call installed,$(pair)); } &&) true
	install -d $(DESTDIR)$(OCFDIR) $(DESTDIR)$(HEARTBEATDIR)/resource.d $(DESTDIR)$(HEARTBEATDIR)/rc.d
	install -d -m 0700 $(DESTDIR)$(SYSCONFDIR)/xen-handoff $(DESTDIR)/var/lib/xen-handoff
	$(foreach link,$(LINKS),ln -srf $(DESTDIR)$(SBINDIR)/xen-handoff $(DESTDIR)$(link) &&) true

install-bench: toolchain
	@tests/need build
	$(CARGO) build --release --locked -p xen-handoff-bench
	@$(MAKE) --no-print-directory install-bench-files

install-bench-files:
	$(call put,0755,$(BENCH_PROGRAMS))
	$(call put,0644,$(BENCH_DATA))

install-load: load
	install -D -m 0755 $(LOAD) $(DESTDIR)$(PREFIX)/bin/xen-handoff-load

# Keys, settings and the log of moves stay.
uninstall:
	rm -f $(foreach pair,$(PROGRAMS) $(DATA) $(BENCH_PROGRAMS) $(BENCH_DATA),$(DESTDIR)$(call installed,$(pair))) $(addprefix $(DESTDIR),$(LINKS))
	-rmdir $(DESTDIR)$(OCFDIR) $(DESTDIR)$(UNITDIR)/session-.scope.d $(DESTDIR)$(UNITDIR)/resource-agents-deps.target.d

# From sources to packages in target/rpm. The tarballs are of what git has, with changes that are not committed.
RPM_RELEASE ?= 1
RPM_SIGN_KEY ?=
rpm: toolchain
	rm -rf target/rpm
	@$(MAKE) --no-print-directory rpm-packages
	packaging/rpm/sbom target/rpm
	$(if $(RPM_SIGN_KEY),packaging/rpm/sign '$(RPM_SIGN_KEY)' target/rpm)
	@find target/rpm -name '*.rpm' -o -name '*.cdx.json'

# The packages alone, and only if something that is in them has changed since they were made.
RPM_FROM = Cargo.toml Cargo.lock Makefile LICENSE README.md CHANGELOG.md doc/recipes.md doc/selinux.md doc/apparmor.md \
	doc/xen-handoff.schema.json doc/messages.txt \
	$(filter-out $(addprefix packaging/rpm/,older rpmlint.toml sbom sign),$(shell find src bench load man ocf packaging -type f))
DEB_FROM = $(filter-out packaging/rpm/macros.debian-el,$(RPM_FROM))
rpm-packages: target/rpm/made

target/rpm/made: $(RPM_FROM) | toolchain
	@tests/need build rpm
	rm -rf target/rpm
	packaging/rpm/sources target/rpm/SOURCES
	packaging/rpm/build target/rpm --define 'release_number $(RPM_RELEASE)'
	@touch $@

# Those of an older build, as release 0: what a rolling upgrade on the lab begins with. It speaks the same protocol, without the
# verbs that came later.
RPM_PREVIOUS ?= 4bf86d4da3e9
rpm-previous: target/rpm-previous/made-$(RPM_PREVIOUS)

target/rpm-previous/made-$(RPM_PREVIOUS): | toolchain
	@tests/need build rpm
	packaging/rpm/older $(RPM_PREVIOUS) target/rpm-previous --define 'release_number 0'
	@touch $@

# Debian's packages, from the same tarballs, in target/deb; and only if something that is in them has changed.
DEB_RELEASE ?= 1
deb: target/deb/made
	@find target/deb -maxdepth 1 -name '*.deb' -o -maxdepth 1 -name '*.dsc'

target/deb/made: $(DEB_FROM) | toolchain
	@tests/need build rpm deb
	rm -rf target/deb
	packaging/rpm/sources target/deb/SOURCES
	packaging/deb/build target/deb $(DEB_RELEASE)
	@touch $@

deb-check: deb
	@tests/need deb deb-check
	$(CARGO) test --locked --test deb -- $(ARGS)

rpm-check: rpm
	@tests/need rpm rpm-check
	$(CARGO) test --locked --test rpm -- $(ARGS)

clean:
	$(CARGO) clean
