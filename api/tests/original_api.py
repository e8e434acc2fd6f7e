"""The original's API, with its Redis and its port as arguments: original_api.py REDIS_HOST:REDIS_PORT PORT"""

import json
import sys
import uuid

from flask import Flask, request
from hotqueue import HotQueue
from redis import StrictRedis

host, port = sys.argv[1].rsplit(":", 1)
q = HotQueue("queue", host=host, port=int(port), db=2)
rd = StrictRedis(host=host, port=int(port), db=3)
app = Flask(__name__)


def add_job(start, end, status="submitted"):
    jid = str(uuid.uuid4())
    job = {"status": status, "start": start, "end": end, "id": jid}
    rd.hset("job.{}".format(jid), mapping=job)
    q.put(jid)
    return job


@app.route("/jobs", methods=["POST"])
def jobs_api():
    job = request.get_json(force=True)
    return json.dumps(add_job(job["start"], job["end"])) + "\n"


app.run(host="127.0.0.1", port=int(sys.argv[2]))
