// BullMQ as its users run it: `put PORT` adds a job to `mails`, and then one with a priority; `work PORT` works them off.

const { Queue, Worker } = require("bullmq");
const { Redis } = require("ioredis");

const [what, port] = [process.argv[2], Number(process.argv[3])];
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };

async function put() {
  const queue = new Queue("mails", { connection });
  await queue.add("mail", {});
  await queue.add("mail", {}, { priority: 1 });
  await queue.close();
}

// Runs until the test lets it end.
async function job() {
  const redis = new Redis(connection);
  await redis.blpop("go on", 0);
  await redis.quit();
}

if (what === "put") put();
else new Worker("mails", job, { connection });
