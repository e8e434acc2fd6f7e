"""taskiq on Redis streams, its broker that acknowledges. Worker: `taskiq worker taskiq_jobs:broker`."""

import asyncio

import marks
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(marks.REDIS_URL)


@broker.task
async def job(number: int) -> None:
    marks.mark(number, marks.STARTED)
    if marks.JOB_SECONDS:
        await asyncio.sleep(marks.JOB_SECONDS)
        marks.mark(number, marks.ENDED)


class Producer:
    """One loop, started when the first job is put: in a worker taskiq has its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        # Makes the consumer group, which sees only what comes after it.
        self.runner.run(broker.startup())

    def put(self, number: int) -> None:
        self.runner.run(job.kiq(number))


producer = None


def put(number: int) -> None:
    global producer
    producer = producer or Producer()
    producer.put(number)
