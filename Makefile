# Everything below needs a Debian-like system. What is missing is announced and installed first.
# Tests and demo run in a disposable machine, of which nothing stays on this computer.

PORT ?= 8000
# How many test machines run in parallel. Each test file has one of them to itself.
MACHINES ?= 4
CACHE := $(or $(SUDOSPAWNER_CACHE),/var/cache/sudospawner-rs)
TOOLS := $(CACHE)/tests/bin
PREPARE := cd tests && /usr/bin/python3 -B -m machine.prepare
# Tests of the binary run on this computer, whose own policy must not matter.
POLICY := /etc/sudospawner
WITHOUT_POLICY := unshare --mount sh -c '[ ! -d $(POLICY) ] || mount -t tmpfs -o mode=755 tmpfs $(POLICY); exec "$$@"' sh

# What the programs of `wheel` and `deb` need: glibc 2.28 or newer, or, as linux, the C library of this computer. What is
# built for this computer alone is ready earlier: only what leaves it has to be linked by zig.
COMPATIBILITY ?= manylinux_2_28
test test-vm deb docs pictures demo bench fuzz: COMPATIBILITY = linux
HOST := $(shell uname -m)
ARCHITECTURE ?= $(HOST)
TARGET = $(if $(filter-out linux,$(COMPATIBILITY)),$(ARCHITECTURE)-unknown-linux-gnu)
RELEASE := target/release-files
# Tests of one release of Debian, such as 12; without it of all.
DEBIAN ?=

# The same source gives the same binary wherever it is built, so no path of this computer may get into it.
wheel: export RUSTFLAGS = --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

.PHONY: help check test test-vm wheel deb release docs pictures site demo demo-caches bench fuzz mutants clean
.DEFAULT_GOAL := help

help: ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

check: ## formats, lints, documentation and sudoers rules, without running anything
	@$(PREPARE) build
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	$(TOOLS)/ruff check tests spawner-py benches docs
	$(TOOLS)/ruff format --check tests spawner-py benches docs
	$(TOOLS)/actionlint -shellcheck= -pyflakes=
	$(TOOLS)/zizmor --offline --quiet --no-progress --min-severity medium .github
	for fragment in sudoers/sudospawner-* examples/docker/sudoers; do visudo --check --strict --file "$$fragment" || exit 1; done
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --log-level error check bans licenses sources; \
	else \
		echo "cargo deny is not installed: bans and licences of the crates are not checked."; \
	fi

test: wheel deb ## unit tests, then real sudo, systemd, JupyterHub and browser in the test machine
	@$(PREPARE) suite
	$(WITHOUT_POLICY) cargo test --workspace --quiet
	cd tests && $(TOOLS)/python -B -m pytest system --numprocesses $(MACHINES) --dist loadfile $(if $(DEBIAN),--debian $(DEBIAN))

test-vm: wheel deb ## what needs a kernel of its own, limits and SELinux: in a virtual machine of qemu
	@$(PREPARE) vm
	cd tests && $(TOOLS)/python -B -m pytest vm --override-ini timeout=1800

wheel: ## build the wheel with the programs, for every Linux with glibc 2.28 or newer, into target/wheels
	@$(PREPARE) $(if $(TARGET),release,build)
	@echo "==> the wheel, into target/wheels"
	@rm -f target/wheels/*.whl
	cd spawner-py && $(if $(TARGET),CARGO_ZIGBUILD_ZIG_PATH=$(CACHE)/release/bin/python-zig) $(TOOLS)/maturin build --release --locked \
		--compatibility $(COMPATIBILITY) $(if $(TARGET),--auditwheel check --zig --target $(TARGET)) --quiet --out ../target/wheels
	@cd tests && $(TOOLS)/python -B -m machine.bill ../target/wheels/*.whl

deb: wheel ## build the Debian package from the same binaries, into target/debian
	@$(PREPARE) cargo-deb
	@echo "==> the Debian package, into target/debian"
	@rm -f target/debian/*.deb
	@$(CACHE)/cargo-deb/bin/cargo-deb deb --no-build --no-strip --quiet $(if $(TARGET),--target $(TARGET)) --output target/debian/

# The wheel of this computer comes last: it stays in target/wheels, for the tests.
release: ## what is published: wheels for two architectures, source, source with all crates, Debian package, list of crates, checksums; into target/release-files
	@rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	@$(MAKE) --no-print-directory wheel COMPATIBILITY=manylinux_2_28 ARCHITECTURE=$(filter-out $(HOST),x86_64 aarch64)
	@cp target/wheels/*.whl $(RELEASE)
	@$(MAKE) --no-print-directory deb COMPATIBILITY=manylinux_2_28
	@cp target/wheels/*.whl target/debian/*.deb $(RELEASE)
	@echo "==> the source, into $(RELEASE)"
	cd spawner-py && $(TOOLS)/maturin sdist --out ../$(RELEASE)
	@cd tests && $(TOOLS)/python -B -m machine.release ../$(RELEASE)

docs: pictures ## the documentation: its pictures anew, and then the site
	@$(MAKE) --no-print-directory site

pictures: wheel ## docs/pictures, from a real Hub, a real terminal and the texts of the drawings
	@$(PREPARE) demo more slurm
	@cd tests && exec $(TOOLS)/python -B -m pictures

site: ## the documentation as a site with a search, into target/docs; a warning is an error
	@$(PREPARE) docs
	@echo "==> the site, into target/docs"
	@$(CACHE)/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --nitpicky \
		-d target/docs-cache docs target/docs
	@echo "==> target/docs/index.html"

demo: ## a Hub to log in to, until Ctrl-C (ONCE=1: one server and its timings; ROOT=1: root mode; SYSTEMD=1: servers in units; SOCKET=1: the same without sudo; SLURM=1: servers on a cluster; PORT=8000)
	@$(PREPARE) build
	@$(MAKE) --no-print-directory --jobs=2 wheel demo-caches COMPATIBILITY=$(COMPATIBILITY)
	@cd tests && exec $(TOOLS)/python -B -m machine.demo --port $(PORT) $(if $(ONCE),--once) $(if $(ROOT),--root) $(if $(SYSTEMD),--systemd) $(if $(SOCKET),--socket) $(if $(SLURM),--slurm)

demo-caches:
	@$(PREPARE) demo $(if $(SLURM),slurm)

bench: wheel ## compare with upstream's sudospawner: one table
	@$(PREPARE) suite
	benches/run

fuzz: wheel ## one minute of bytes that AFL invents, for every parser (SECONDS=60); then random sequences of calls (SEQUENCES=500, SEED=NUMBER)
	fuzz/run $(or $(SECONDS),60)
	@$(PREPARE) suite
	@seed=$(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); \
	echo "==> $(or $(SEQUENCES),500) sequences of calls; SEED=$$seed repeats them"; \
	cd tests && SUDOSPAWNER_SEQUENCES=$(or $(SEQUENCES),500) $(TOOLS)/python -B -m pytest system/test_sequences.py \
		--hypothesis-seed=$$seed --override-ini timeout=14400 --override-ini faulthandler_timeout=0

mutants: ## take each numbered check out of a copy: the tests that prove it have to fail (ONLY=WORD)
	@$(PREPARE) suite
	@cd tests && exec $(TOOLS)/python -B -m mutants $(ONLY)

clean: ## remove what was built here (the caches under /var/cache stay)
	rm -rf target fuzz/target fuzz/found
