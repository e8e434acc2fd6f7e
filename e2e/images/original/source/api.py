import json

from flask import Flask, request

import jobs

app = Flask(__name__)


@app.route('/jobs', methods=['POST'])
def jobs_api():
    job = request.get_json(force=True)
    return json.dumps(jobs.add_job(job['start'], job['end'])) + '\n'


if __name__ == '__main__':
    app.run(debug=False, host='0.0.0.0')
