// BullMQ: `bullmq.js work CONCURRENCY`, or `bullmq.js one SECONDS | bulk COUNT | paced COUNT`, which enqueues and prints
// "COUNT SECONDS". bench/src/marks.rs tells what a job leaves behind.
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const { Queue, Worker } = require("bullmq");

const [ENQUEUED, STARTED, ENDED] = [0, 1, 2];
const BATCH = 1000;
const PACE_MS = 20;
const JOB_MS = Number(process.env.JOB_MS ?? 0);
const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT) };
const marks = fs.openSync(process.env.MARKS, "a");

function mark(number, phase) {
  const record = Buffer.allocUnsafe(16);
  record.writeUInt32LE(number, 0);
  record.writeUInt32LE(phase, 4);
  // Date.now() knows whole milliseconds only.
  record.writeBigUInt64LE(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6)), 8);
  fs.writeSync(marks, record);
}

function work(concurrency) {
  const job = async ({ data: { number } }) => {
    mark(number, STARTED);
    if (JOB_MS > 0) {
      await sleep(JOB_MS);
      mark(number, ENDED);
    }
  };
  new Worker("jobs", job, { connection, concurrency }).on("error", console.error);
}

const produce = {
  async one(queue, seconds) {
    const end = performance.now() + seconds * 1000;
    for (let number = 0; ; number++) {
      await queue.add("job", { number });
      if (performance.now() >= end) return number + 1;
    }
  },
  async bulk(queue, count) {
    for (let first = 0; first < count; first += BATCH) {
      const length = Math.min(BATCH, count - first);
      await queue.addBulk(Array.from({ length }, (_, i) => ({ name: "job", data: { number: first + i } })));
    }
    return count;
  },
  async paced(queue, count) {
    const begun = performance.now();
    for (let number = 0; number < count; number++) {
      await sleep(Math.max(0, begun + number * PACE_MS - performance.now()));
      mark(number, ENQUEUED);
      await queue.add("job", { number });
    }
    return count;
  },
};

async function main(mode, amount) {
  if (mode === "work") return work(amount);
  const queue = new Queue("jobs", { connection });
  await queue.waitUntilReady();
  const begun = performance.now();
  const count = await produce[mode](queue, amount);
  console.log(count, (performance.now() - begun) / 1000);
  await queue.close();
}

main(process.argv[2], Number(process.argv[3]));
