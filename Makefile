# The two commands of the README, and what they are made of. The build itself is meson's.
.PHONY: all quickstart test deps build install fuzz bench clean

all: build

deps:
	scripts/install-deps build

build: deps
	@test -d build || meson setup build -Dtests=false >build-setup.log 2>&1 || { cat build-setup.log; exit 1; }
	@rm -f build-setup.log
	@meson compile -C build >build/compile.log 2>&1 || { cat build/compile.log; exit 1; }

# Installs what is missing, builds, and shows the main job on a real program.
quickstart: build
	@scripts/install-criu
	@scripts/quickstart

# Installs what the tests need and runs all of them. tests/run --help has the parts.
test:
	@scripts/install-deps test
	@scripts/install-criu
	@tests/run

# The fuzz targets for longer: make fuzz SECONDS=600
fuzz:
	@scripts/install-deps fuzz
	@tests/run --only fuzz --fuzz-seconds $(or $(SECONDS),60)

# Measures nucleus beside crun, runc and bubblewrap, and draws docs/performance.svg. About a minute:
# make bench QUICK=1
bench:
	@scripts/install-deps bench
	@scripts/install-criu
	@bench/run $(if $(QUICK),--quick,--chart)

install: build
	meson install -C build

clean:
	rm -rf build build-*
