# Two commands do everything: `make demo` and `make test`. What they need they install into target/.

CARGO := cargo
PYTHON ?= python3
# One that has BuildKit.
DOCKER ?= docker
HUBLATCH_BIN := $(CURDIR)/target/release/hublatch

.PHONY: proxy-proof proxy-tests hub-suite help demo test lint deploy-tests wheel-tests release-tests tljh image deb wheel release in-process store-tests restart-tests race race-short fuzz fuzz-short hub-tests build bench bench-quick bench-instructions load-tests class soak

help:
	@echo "make demo   JupyterHub, hublatch and a sample application on this machine; prints the URL to open"
	@echo "make test   all tests: lints, in-process, token stores on a real Redis, a real JupyterHub, a real browser"
	@echo "make store-tests, make restart-tests, make load-tests   parts of make test: stores on a real Redis, reloads and"
	@echo "            restarts under load, attacks over loopback"
	@echo "make race   100,000 tokens for each store, ten racers for each, kill -9 in between (half an hour)"
	@echo "make fuzz   ten minutes for each target that parses hostile bytes, two at a time; SECONDS=30 for less"
	@echo "make hub-suite, make proxy-proof   hublatch as the hub's proxy: JupyterHub's own tests; kills, restarts and load"
	@echo "make bench  CPU, latency and memory side by side with nginx, HAProxy and configurable-http-proxy"
	@echo "            BENCH='--rounds N --seconds S --scenarios a,b --readme'; make bench-quick: under five minutes"
	@echo "make deploy-tests   the containers of docker/ on a real engine (a part of make test)"
	@echo "make wheel-tests, make release-tests, make tljh   what takes longer, once a week: the wheel in new environments of three"
	@echo "            hubs; two releases in two folders, byte for byte; a real TLJH under systemd (TLJH=its source)"
	@echo "make image  the container image, by the Docker engine of this machine"
	@echo "make wheel, make deb   the Python package, in target/wheels; the Debian package, in target/deb"
	@echo "make class  people who log in at once, by links and by the hub's own form, side by side; CLASS='--people 200,600 --busy'"
	@echo "make release   all that a release consists of, in target/release-VERSION, from a clean tree with a cut CHANGELOG"
	@echo "make soak   ten minutes of mixed load (SECONDS=600): memory and descriptors must stay flat"

demo:
	examples/demo.sh

test: lint in-process fuzz-short store-tests race-short bench-instructions hub-tests proxy-tests load-tests restart-tests deploy-tests

# Formatting, lints, documentation, dependencies (bans, licences, sources). With network access to the advisory
# database, `cargo deny check advisories` is worth running too.
lint:
	@# What a merge has left in a file.
	! grep --recursive --line-number --extended-regexp '^(<{7}|>{7}) ' --exclude-dir=target --exclude-dir=.git .
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --no-deps --document-private-items --quiet
	tests/install.sh tools
	target/tools/bin/cargo-deny --config .deny.toml check bans licenses sources

in-process:
	$(CARGO) test --locked

# Hostile bytes against a second reading of them (tests/fuzz).
SECONDS := 600
fuzz:
	tests/fuzz/run.sh $(SECONDS)

fuzz-short:
	FUZZ_SEED=1 tests/fuzz/run.sh 30

# In place of .cargo/config.toml, for tests that compute: each has servers of its own that need a core.
BY_CORES := RUST_TEST_THREADS=$$(nproc)

# The token stores on what they stand on: a real redis-server (Debian: apt-get install redis-server), Sentinels, a
# cluster, several replicas, a full disk, 500 power cuts, 1,000 flipped bits.
store-tests:
	tests/install.sh redis
	$(CARGO) test --locked --lib -- --ignored power_cut
	$(CARGO) test --locked --test it -- --ignored flipped_bits
	$(BY_CORES) $(CARGO) test --locked --test store -- --ignored --skip measure

# At most one login per token, whatever is killed: real processes, a real Redis, and a checker of the whole history.
race: build
	tests/install.sh redis
	RACE_TOKENS=100000 RACE_CRASHES=50 HUBLATCH_BIN=$(HUBLATCH_BIN) \
		$(CARGO) test --locked --test race -- --ignored --nocapture --test-threads 1

race-short:
	tests/install.sh redis
	$(BY_CORES) $(CARGO) test --locked --test race -- --ignored

# Reloads and restarts under load, with no failure: a few of each. Without options the script does a hundred of each.
restart-tests:
	$(CARGO) build --locked
	$(PYTHON) tests/restart/run.py --reloads 20 --restarts 10

# A real Docker engine in a network namespace of its own runs compose.yaml; wants root. Its images stay in target/deploy.
deploy-tests: build
	tests/install.sh deploy
	target/venv-deploy/bin/python -m pytest tests/deploy

# Weekly: the wheel of `make wheel`, installed by pip into new environments with JupyterHub 4.1, 5.5 and 6.1.
wheel-tests: wheel
	tests/install.sh deploy
	target/venv-deploy/bin/python -m pytest tests/deploy/test_wheel.py -m weekly

# Weekly: two releases of this commit in two folders must be the same, byte for byte (a quarter of an hour on two idle cores).
release-tests:
	tests/install.sh deploy
	target/venv-deploy/bin/python -m pytest tests/deploy/test_release.py -m weekly

# Weekly: the wheel as a plugin of a real TLJH, under systemd. Its source is not ours to keep: TLJH=FOLDER of a checkout.
tljh: wheel
	tests/install.sh deploy
	TLJH=$(TLJH) target/venv-deploy/bin/python -m pytest tests/deploy/test_tljh.py -m weekly

# The image as a registry would get it: a static binary on an empty base. Wants a running Docker engine with BuildKit.
image:
	DOCKER_BUILDKIT=1 $(DOCKER) build --file docker/Dockerfile --tag hublatch \
		--build-arg REVISION=$$(git rev-parse HEAD) .

# The Python package with the program in it, for any Linux with glibc 2.17 or newer, in target/wheels.
wheel:
	tests/install.sh tools
	docker/licences.sh python/THIRD-PARTY-LICENCES
	cd python && PATH="$(CURDIR)/target/tools/bin:$$PATH" maturin build --release --locked --zig --strip \
		--compatibility manylinux2014 --out $(CURDIR)/target/wheels

# Wheel, Debian package, image, clients, licences, SBOM and checksums, the same from the same commit; nothing is uploaded.
# `.ci/release.py cut`, and a commit, come first.
release:
	$(PYTHON) .ci/release.py make

# The Debian package, in target/deb, of the binary of `make build`.
deb: build
	config/debian/build.sh target/release/hublatch target/deb

build:
	$(CARGO) build --release --locked

hub-tests: build
	tests/install.sh tests
	tests/install.sh hub41
	tests/install.sh hub5
	tests/install.sh tools
	tests/install.sh redis
	# The tables of hostile `next` and paths as a browser reads them: judged by Node's URL as well.
	$(CARGO) test --locked --test it -- --ignored node_
	HUBLATCH_BIN=$(HUBLATCH_BIN) target/venv/bin/python -m pytest tests/jupyterhub

# hublatch in the place of configurable-http-proxy: what others rely on in that, and JupyterHub's own tests.
proxy-tests: build
	tests/install.sh tests
	target/venv/bin/python -m pytest tests/chp
	$(PYTHON) tests/jupyterhub_suite/run.py
	$(PYTHON) tests/jupyterhub_suite/run.py --mode class
	# Flows that end in a login, where hublatch is the hub's proxy.
	HUBLATCH_PLACE=proxy HUBLATCH_BIN=$(HUBLATCH_BIN) target/venv/bin/python -m pytest \
		$(addprefix tests/jupyterhub/test_,$(addsuffix .py,user_switch form_post frames link names paths planted_cookies spoofing))

# The same with every module that touches the proxy, and with the older hubs (half an hour).
hub-suite: build
	$(PYTHON) tests/jupyterhub_suite/run.py --all
	$(PYTHON) tests/jupyterhub_suite/run.py --all --mode class
	$(PYTHON) tests/jupyterhub_suite/run.py --subdomain test_proxy test_services test_pages
	$(PYTHON) tests/jupyterhub_suite/run.py --hub 5.4 --all
	$(PYTHON) tests/jupyterhub_suite/run.py --hub 4.1 --all
	$(PYTHON) tests/jupyterhub_suite/run.py --browser

# What a part of make test shows in short, as often and as long as it takes to be sure (half an hour): a proxy killed and a
# hub restarted 20 times each, a frozen proxy, a million requests with 1,000 route changes a second, a storm at a dead server.
proxy-proof: build
	HUBLATCH_ROUNDS=20 HUBLATCH_FREEZE=20 HUBLATCH_BIN=$(HUBLATCH_BIN) target/venv/bin/python -m pytest \
		tests/jupyterhub/test_proxy_restarts.py --timeout 1800 --junitxml target/proxy-restarts.xml
	HUBLATCH_REQUESTS=1000000 $(CARGO) test --locked --test it -- --nocapture routes::under_load
	HUBLATCH_STORM_SECONDS=30 target/venv/bin/python -m pytest -s tests/chp/test_storm.py

# Wants two idle cores, and half an hour; writes a report and a picture into target/bench/, and with BENCH=--readme the
# table of docs/architecture.md.
bench: build
	$(PYTHON) tests/bench/run.py $(BENCH)
	$(PYTHON) tests/bench/stores.py

bench-quick: build
	$(PYTHON) tests/bench/run.py --quick $(BENCH)

# Instructions of a request, counted: the same on every run, so it is a gate. And of looking up tokens that were nearly
# guessed, and not at all: they must cost the same.
bench-instructions: build
	$(PYTHON) tests/bench/instructions.py --gate
	$(CARGO) test --locked --test it -- --ignored timing::instructions

# Attacks over loopback, and what passes through: WebSocket scripts, large bodies.
load-tests: build
	tests/install.sh tests
	tests/install.sh load
	$(PYTHON) tests/load/attacks.py
	target/venv/bin/python tests/load/transparency.py

# Wants two idle cores, and some minutes for each size: a class by links and by the hub's own form, in turn, on a real hub; the
# rate before a hub by script with up to 5,000 who wait; the memory of 10,000 who wait.
CLASS := --people 200,600
class: build
	tests/install.sh tests
	HUBLATCH_BIN=$(HUBLATCH_BIN) target/venv/bin/python tests/load/class.py $(CLASS)

soak: build
	tests/install.sh load
	$(PYTHON) tests/load/soak.py --seconds $(SECONDS)
