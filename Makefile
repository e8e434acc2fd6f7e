# The verbs of the project. Each is a script of its own; this file only names them. Variables of the command line
# (make demo PORT=5001) reach the scripts as environment.
.PHONY: help demo down run check test test-chaos simulation image

help: ## list these
	@awk -F ':.*## ' '/^[a-z][a-z0-9%-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a real Kubernetes, 10 jobs, the pool going 0 -> N -> 0 (CLUSTER=current IMAGE=registry/name:tag: your own cluster)
	@dev/demo

down: ## remove every trace of the demo (CLUSTER=current: what it applied to your own cluster)
	@dev/down

run: ## Redis, the API and one worker as plain processes; no cluster
	@dev/run

check: ## format, clippy, the fast tests: before every commit
	@dev/check

test: ## every suite, the real cluster included
	@dev/test

test-chaos: ## the attack, and its one table (FLAGS="--jobs 100000 --seed 7"; --help lists them)
	@chaos/run $(FLAGS)

test-%: ## one suite, as in make test-e2e; dev/test --list names them
	@dev/test $*

simulation: ## the law beside KEDA and the HPA on the same traces: the table and the plots of docs/scaling.md (seconds)
	@cargo run --quiet --release -p workerpool-simulation -- --plots docs

image: ## build the images, print where they are
	@dev/images

bench-%: ## measure one figure of docs/benchmarks.md; bench/run --list names them (FLAGS="--rounds 1")
	@bench/run $* $(FLAGS)
