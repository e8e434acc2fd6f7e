"""Enqueues: `produce.py PEER one SECONDS | bulk COUNT | paced COUNT`, and prints "COUNT SECONDS".

PEER is a module beside this one. It has `put(number)`, and `put_many(numbers)` where the peer offers that.
"""

import importlib
import itertools
import sys
import time

from marks import ENQUEUED, mark

BATCH = 1000
PACE = 0.02


def main(peer: str, mode: str, amount: str) -> None:
    produce = {"one": one, "bulk": bulk, "paced": paced}[mode]
    module = importlib.import_module(peer)
    begun = time.monotonic()
    count = produce(module, int(amount))
    print(count, time.monotonic() - begun)


def one(peer, seconds: int) -> int:
    end = time.monotonic() + seconds
    for number in itertools.count():
        peer.put(number)
        if time.monotonic() >= end:
            return number + 1


def bulk(peer, count: int) -> int:
    if hasattr(peer, "put_many"):
        for first in range(0, count, BATCH):
            peer.put_many(range(first, min(first + BATCH, count)))
    else:
        for number in range(count):
            peer.put(number)
    return count


def paced(peer, count: int) -> int:
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0, begun + number * PACE - time.monotonic()))
        mark(number, ENQUEUED)
        peer.put(number)
    return count


main(*sys.argv[1:])
