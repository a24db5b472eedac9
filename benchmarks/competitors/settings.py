"""Where broker and provider are: what `contenders.py` puts into the environment of the frameworks' processes."""

import os

AMQP_URL = os.environ["BENCHMARK_AMQP_URL"]
PROVIDER_URL = os.environ["BENCHMARK_PROVIDER_URL"]
