// Loaded before the main file of a child process. A thread of its own, since a step of a large model keeps the main one for
// minutes, writes a byte each second to a pipe that the parent reads: whether the process has computed. When nobody reads it
// any more the parent is gone, and the process ends, whatever its main thread does.
import { Worker } from "node:worker_threads";

/** The file descriptor after those of "ipc". */
const PIPE = 4;

/**
 * Processor time in microseconds from which on a process counts as one that computes. An idle one takes a tenth of it; one
 * that loads a base from a slow network takes more.
 */
const COMPUTING = 5000;

const THREAD = `
const { workerData: { pipe, computing } } = require("node:worker_threads");
const { writeSync } = require("node:fs");
const used = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
let before = used();
setInterval(() => {
  const now = used();
  const beat = now - before >= computing ? "+" : "-";
  before = now;
  try {
    writeSync(pipe, beat);
  } catch (error) {
    if (error.code !== "EAGAIN") process.kill(process.pid, "SIGKILL");
  }
}, 1000);`;

new Worker(THREAD, { eval: true, execArgv: [], workerData: { pipe: PIPE, computing: COMPUTING } }).unref();
