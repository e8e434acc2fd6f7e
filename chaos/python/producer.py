"""A producer of the original's kind: producer.py HOST:PORT COUNT FILE

Each job that is in the queue is a line of FILE: its id, and when (monotonic milliseconds). Started again, it goes on
where it stopped.
"""

import os
import signal
import sys
import time
import uuid

from hotqueue import HotQueue
from redis import StrictRedis

host, port = sys.argv[1].rsplit(":", 1)
q = HotQueue("queue", host=host, port=int(port), db=2)
rd = StrictRedis(host=host, port=int(port), db=3)
acknowledged = os.open(sys.argv[3], os.O_RDWR | os.O_CREAT | os.O_APPEND)
with open(sys.argv[3]) as lines:
    done = sum(1 for _ in lines)

for number in range(done, int(sys.argv[2])):
    jid = str(uuid.uuid4())
    rd.hset(f"job.{jid}", mapping={"id": jid, "status": "submitted", "start": f"sleep {number % 40}", "end": jid})
    q.put(jid)
    if number % 10 == 9:
        q.put(jid)  # as a user who is not sure does
    os.write(acknowledged, f"{jid} {time.monotonic_ns() // 1_000_000}\n".encode())
    time.sleep(0.02)

signal.pause()
