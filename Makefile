# sms-batch: `make run` brings everything up, with Docker where there is an engine, without it where there is none.
.DEFAULT_GOAL := help
.PHONY: help run run-docker run-cluster run-local stop clean test test-matrix faults faults-selfcheck check format bench bench-million env venv venv-dev venv-bench

SENDERS ?= 3
# of the random killer in `make faults`
SEEDS ?= 20
# processes that share the tests
WORKERS ?= 5
# docker or local; found out only by the targets that use it
WITH ?= $(shell tools/setup.sh engine)
PYTHON_IN_VENV := .venv/bin/python
# Compose reads the whole file even to stop; without .env, any value will do for that.
COMPOSE_FILES := docker-compose.yml:docker-compose.cluster.yml
COMPOSE_AT_ALL := SMS_RABBITMQ_PASSWORD=- SMS_POSTGRES_PASSWORD=- SMS_REDIS_PASSWORD=- SMS_API_KEYS=- SMS_RABBITMQ_COOKIE=- docker compose --profile tools
COMPOSE_DOWN := COMPOSE_FILE=docker-compose.yml $(COMPOSE_AT_ALL) down --remove-orphans
# The cluster has volumes of its own, and the single node's are none of its.
CLUSTER_DOWN := COMPOSE_FILE=$(COMPOSE_FILES) $(COMPOSE_AT_ALL) down --remove-orphans
STYLED := services shared tools tests $(wildcard benchmarks)

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Variables: WITH=docker|local (what there is), SENDERS=$(SENDERS), SEEDS=$(SEEDS) (of make faults), WORKERS=$(WORKERS) (of make test and test-matrix)"

run: ## Start everything, send the sample batch, say where to look
	@$(MAKE) --no-print-directory run-$(WITH)

run-docker: env
	docker compose up --build --detach --wait --scale sender=$(SENDERS)
	docker compose run --rm smsctl sample
	@echo
	@echo "API:           http://$$(docker compose port api 8080)  (its docs: /docs; the key is SMS_API_KEYS in .env)"
	@echo "Management UI: http://$$(docker compose port rabbitmq 15672)/  (user sms, password: SMS_RABBITMQ_PASSWORD in .env)"
	@echo "Dead letters:  http://$$(docker compose port rabbitmq 15672)/#/queues/%2F/sms.dead-letter  (\"Get messages\")"
	@echo "Simulator:     http://$$(docker compose port simulator 8090)/calls/summary"
	@echo "Logs:          docker compose logs"

run-cluster: export COMPOSE_FILE = $(COMPOSE_FILES)
run-cluster: run-docker ## The same with Docker and three RabbitMQ nodes instead of one

run-local:
	@tools/setup.sh venv run
	@tools/setup.sh packages run
	@$(PYTHON_IN_VENV) -m tools.local up --senders $(SENDERS)
	@. .run/env && $(PYTHON_IN_VENV) -m tools.ctl sample
	@$(PYTHON_IN_VENV) -m tools.local status

stop: ## Stop everything; the ledger and the broker's messages stay
	@if [ "$$(tools/setup.sh engine)" = docker ]; then $(COMPOSE_DOWN); fi
	@if [ -d .run ] && [ -x $(PYTHON_IN_VENV) ]; then $(PYTHON_IN_VENV) -m tools.local down; fi

clean: stop ## Stop everything and delete its data; .env stays
	@if [ "$$(tools/setup.sh engine)" = docker ]; then $(COMPOSE_DOWN) --volumes && $(CLUSTER_DOWN) --volumes; fi
	rm -rf .run

PYTEST := .venv/bin/pytest --numprocesses $(WORKERS) --dist worksteal

test: venv-dev ## Install what the tests need, and run them, each once
	@tools/setup.sh packages test
	$(PYTEST)

test-matrix: venv-dev ## Every test on both brokers and both databases, the large ones too
	@tools/setup.sh packages test
	$(PYTEST) --matrix

faults: venv-dev ## Every fault scenario on every broker, and the table of what came of them (90 minutes)
	@tools/setup.sh packages test
	@mkdir -p .run
	.venv/bin/pytest tests/faults --all-faults --seeds $(SEEDS) --faults-table .run/faults.md

faults-selfcheck: venv-dev ## Break the code in more than twenty ways, and see that the fault suite notices each (half an hour)
	@tools/setup.sh packages test
	$(PYTHON_IN_VENV) -m tests.faults.selfcheck

check: venv-dev ## Format, lint, types, import rules
	.venv/bin/ruff format --check $(STYLED)
	.venv/bin/ruff check $(STYLED)
	.venv/bin/mypy
	.venv/bin/lint-imports

format: venv-dev ## Put the code into its format
	.venv/bin/ruff check --fix --quiet $(STYLED) || true
	.venv/bin/ruff format $(STYLED)

bench: venv-bench ## Measure beside four task frameworks, and write benchmarks/results (half an hour)
	@tools/setup.sh packages bench
	$(PYTHON_IN_VENV) -m benchmarks

bench-million: venv-bench ## Send a million numbers: the rate of each tenth, peak memory, queue depths
	@tools/setup.sh packages bench
	$(PYTHON_IN_VENV) -m benchmarks.million

env: ## Write .env with passwords for docker compose, unless it is there
	@tools/setup.sh env

venv: ## Make .venv with what the services need
	@tools/setup.sh venv run

venv-dev:
	@tools/setup.sh venv dev

venv-bench:
	@tools/setup.sh venv bench
