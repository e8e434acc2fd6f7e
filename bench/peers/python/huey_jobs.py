"""Huey. Worker: `huey_consumer huey_jobs.huey`."""

import marks
from huey import RedisHuey

huey = RedisHuey(url=marks.REDIS_URL)


@huey.task()
def put(number: int) -> None:
    marks.job(number)
