"""Celery as docs/sources.md says that it should run: `put PORT` sends a task to `mails`, `work PORT` works them off."""

import sys

from celery import Celery
from redis import Redis

what, port = sys.argv[1], int(sys.argv[2])
app = Celery("mails", broker=f"redis://127.0.0.1:{port}/0")
app.conf.update(task_default_queue="mails", task_acks_late=True, worker_prefetch_multiplier=1)


@app.task(name="job")
def job() -> None:
    """Runs until the test lets it end."""
    Redis(port=port).blpop("go on")


if what == "put":
    job.delay()
else:
    app.worker_main(["worker", "--concurrency", "1", "--loglevel", "warning"])
