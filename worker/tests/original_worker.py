"""The original's worker, with its Redis and its time per job as arguments: original_worker.py HOST:PORT SECONDS"""

import os
import sys
import time

from hotqueue import HotQueue
from redis import StrictRedis

host, port = sys.argv[1].rsplit(":", 1)
q = HotQueue("queue", host=host, port=int(port), db=2)
rd = StrictRedis(host=host, port=int(port), db=3)


@q.worker
def execute_job(jid):
    key = "job.{}".format(jid)
    rd.hset(key, "status", "in progress")
    rd.hset(key, "worker", os.environ["WORKER_IP"])
    time.sleep(float(sys.argv[2]))
    rd.hset(key, "status", "complete")


execute_job()
