"""Celery without a result backend. Worker: `celery --app celery_jobs worker`."""

import os

import marks
from celery import Celery

app = Celery("celery_jobs", broker=marks.REDIS_URL)
if marks.SAFE:
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
if "VISIBILITY_SECONDS" in os.environ:
    app.conf.broker_transport_options = {"visibility_timeout": int(os.environ["VISIBILITY_SECONDS"])}


@app.task
def job(number: int) -> None:
    marks.job(number)


def put(number: int) -> None:
    job.delay(number)
