"""A Ray cluster of two machines that are one: each node is a set of processes of its own and can be killed."""

import os
import signal
import warnings
from contextlib import suppress

import pytest


@pytest.fixture(scope="module")
def _ray():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # 15 by default: on a machine with other work they would get no time.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray's own imports warn of
        return pytest.importorskip("ray.cluster_utils", exc_type=ImportError)


@pytest.fixture
def cluster(_ray):
    """A head that works for nobody, and two nodes that carry one worker each."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    store = 100 << 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": store}
        made = _ray.Cluster(initialize_head=True, head_node_args=head)
        made.two = [made.add_node(num_cpus=1, object_store_memory=store, memory=3 << 30) for _ in range(2)]
        made.wait_for_nodes()
        yield made
        with suppress(Exception):
            made.shutdown()
    for number, handler in handlers.items():
        signal.signal(number, handler)
