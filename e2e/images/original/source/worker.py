import os
import time

from jobs import add_worker_to_job, q, update_job_status

worker_ip = os.environ.get('WORKER_IP')


@q.worker
def execute_job(jid):
    update_job_status(jid, 'in progress')
    add_worker_to_job(jid, worker_ip)
    time.sleep(15)
    update_job_status(jid, 'complete')


execute_job()
