"""RQ. Worker: `rq worker`, which forks a process for each job; `--worker-class rq.SimpleWorker` does not."""

from marks import REDIS_URL, SAFE, job
from redis import Redis
from rq import Queue, Retry

queue = Queue(connection=Redis.from_url(REDIS_URL))
# Without it a job whose worker died ends among the failed ones.
RETRY = Retry(max=3) if SAFE else None


def put(number: int) -> None:
    queue.enqueue(job, number, retry=RETRY)


def put_many(numbers) -> None:
    queue.enqueue_many([Queue.prepare_data(job, args=(number,), retry=RETRY) for number in numbers])
