import os
import uuid

from hotqueue import HotQueue
from redis import StrictRedis

redis_ip = os.environ.get('REDIS_IP')
if not redis_ip:
    raise Exception('REDIS_IP is not set')

q = HotQueue('queue', host=redis_ip, port=6379, db=2)
rd = StrictRedis(host=redis_ip, port=6379, db=3)


def generate_jid():
    return str(uuid.uuid4())


def generate_job_key(jid):
    return 'job.{}'.format(jid)


def add_job(start, end, status='submitted'):
    jid = generate_jid()
    job = {'status': status, 'start': start, 'end': end, 'id': jid}
    rd.hset(generate_job_key(jid), mapping=job)
    q.put(jid)
    return job


def update_job_status(jid, status):
    rd.hset(generate_job_key(jid), 'status', status)


def add_worker_to_job(jid, worker_ip):
    rd.hset(generate_job_key(jid), 'worker', worker_ip)
