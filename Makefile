# Everything that Cargo builds, Cargo builds; this file only remembers command lines.
# A site overrides the variables and never edits: make run NP=4 HOSTFILE=~/my.hosts
MPIRUN ?= mpirun
HOSTFILE ?= hostfiles/local.hosts
SPEC ?= specs/digits-stages.yaml
NP ?= 3
CARGO ?= cargo
CARGO_FLAGS ?= --release

BIN := target/release
# mpirun refuses to run as root, and more ranks than cores, unless it is told otherwise.
export OMPI_ALLOW_RUN_AS_ROOT ?= 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM ?= 1
export OMPI_MCA_rmaps_base_oversubscribe ?= 1
export PRTE_MCA_rmaps_default_mapping_policy ?= :oversubscribe

all: ## release build of both binaries
	$(CARGO) build $(CARGO_FLAGS) --bins

setup: ## install what is missing: Open MPI, hwloc, libclang
	scripts/setup.sh

demo: setup all ## set up, build, run the main job on the model and images in the repository
	$(MPIRUN) -hostfile hostfiles/local.hosts -np 3 $(BIN)/autodice-run specs/digits-stages.yaml --verify

test: setup test-pure test-mpi ## set up what is missing, then all tests

test-pure: ## tests that need neither MPI nor hwloc
	$(CARGO) test $(CARGO_FLAGS) --no-default-features

test-mpi: ## all tests, under mpirun too
	$(CARGO) test $(CARGO_FLAGS)

lint: ## formatting, clippy and documentation, with warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --no-deps

doc: ## the documentation, in a browser
	$(CARGO) doc --no-deps --open

models: all ## the standard architectures, by `autodice model`
	mkdir -p models
	for name in vgg16 resnet50 mobilenet_v1; do $(BIN)/autodice model $$name -o models/$$name.onnx; done

run: all ## MPIRUN -hostfile HOSTFILE -np NP autodice-run SPEC
	$(MPIRUN) -hostfile $(HOSTFILE) -np $(NP) $(BIN)/autodice-run $(SPEC)

bench: all ## every measurement of BENCHMARKS.md, into results/
	scripts/bench.sh

clean: ## what Cargo built
	$(CARGO) clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

.PHONY: all setup demo test test-pure test-mpi lint doc models run bench clean help
