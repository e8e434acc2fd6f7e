"""What a job of every Python peer does; bench/src/marks.rs tells the format."""

import os
import struct
import time

ENQUEUED, STARTED, ENDED = range(3)
JOB_SECONDS = int(os.environ.get("JOB_MS", "0")) / 1000
FILE = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND)
REDIS_URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
# Whether the peer is to run as its documentation advises where no job may be lost, and not as it comes.
SAFE = "SAFE" in os.environ


def mark(number: int, phase: int) -> None:
    os.write(FILE, struct.pack("<IIQ", number, phase, time.time_ns()))


def job(number: int) -> None:
    mark(number, STARTED)
    if JOB_SECONDS:
        time.sleep(JOB_SECONDS)
        mark(number, ENDED)
