"""Threads: never more than cores that the process may use, with the same results; single steps take all of them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import cnngen
from cnngen.backends.cpu.target import available_cores
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D
from tests.graphs import Builder

MANY = 6
PROGRAM = """
import json, os, sys
import numpy as np
import cnngen
from tests.unit.test_threads import MANY, network

def threads():
    return len(os.listdir("/proc/self/task"))

cores = sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]
net = cnngen.compile(network(), threads=MANY)
net.plan
os.sched_setaffinity(0, cores)
x = np.ones(net.input_shapes[0], np.float32)
before = threads()
net(x)
ran = threads()
net.trace(x)
print(json.dumps([ran - before, threads() - before]))
"""


def network() -> Graph:
    net = Builder((1, 12, 12, 8), name="threaded")
    net.add(Conv2D(16, (3, 3), padding=(1, 1, 1, 1), activation=Activation("relu")))
    net.add(Conv2D(8, (3, 3), (2, 2)))
    return net.graph()


def test_a_network_for_many_threads_gives_the_same() -> None:
    graph = network()
    x = np.random.default_rng(0).standard_normal((1, 12, 12, 8), np.float32)
    found = set()
    for threads in (1, 2, MANY):
        with cnngen.compile(graph, threads=threads, numerics="reproducible") as net:
            assert net.threads == threads
            found |= {net(x).tobytes(), net.trace(x)[graph.outputs[0]].tobytes()}
    assert len(found) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("cores", sorted({1, min(available_cores(), MANY - 1)}))
def test_a_run_takes_no_more_threads_than_there_are_cores(cores: int) -> None:
    with cnngen.compile(network(), threads=MANY):
        pass  # from the cache below
    command = [sys.executable, "-c", PROGRAM, str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    # The caller's own thread is one of them. Steps alone, which only tests and profiles run, take as many as were asked
    # for, so that the split of their work is checked on any machine.
    assert json.loads(done.stdout) == [cores - 1, MANY - 1]
