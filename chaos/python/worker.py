"""A worker of the original's kind that writes elsewhere what it does: worker.py HOST:PORT FILE

The lines are those of chaos/src/effects.rs.
"""

import os
import sys
import time

from hotqueue import HotQueue
from redis import StrictRedis

host, port = sys.argv[1].rsplit(":", 1)
q = HotQueue("queue", host=host, port=int(port), db=2)
rd = StrictRedis(host=host, port=int(port), db=3, decode_responses=True)
effects = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
number = 0


def write(what, jid):
    clocks = f"{time.monotonic_ns() // 1_000_000} {time.time_ns() // 1_000_000}"
    os.write(effects, f"{what} {number} {jid} 1 {os.getpid()} {clocks}\n".encode())


@q.worker
def execute_job(jid):
    global number
    write("start", jid)
    key = f"job.{jid}"
    rd.hset(key, "status", "in progress")
    rd.hset(key, "worker", "python")
    kind, *milliseconds = (rd.hget(key, "start") or "none").split()
    if kind == "sleep":
        time.sleep(int(milliseconds[0]) / 1000)
    write("done", jid)
    rd.hset(key, "status", "complete")
    number += 1


execute_job()
