"""RQ as its users run it: `put PORT` enqueues a job on `mails`, `work PORT` works them off."""

import sys

from redis import Redis
from rq import Queue, Worker


def job(port: int) -> None:
    """Runs until the test lets it end."""
    Redis(port=port).blpop("go on")


if __name__ == "__main__":
    what, port = sys.argv[1], int(sys.argv[2])
    connection = Redis(port=port)
    if what == "put":
        Queue("mails", connection=connection).enqueue("rq_mails.job", port)
    else:
        Worker(["mails"], connection=connection).work()
