"""Dramatiq. Worker: `dramatiq dramatiq_jobs`."""

import dramatiq
import marks
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=marks.REDIS_URL))


@dramatiq.actor
def job(number: int) -> None:
    marks.job(number)


put = job.send
