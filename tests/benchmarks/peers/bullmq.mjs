// BullMQ: the same requests and answers as driver.py, on Node.
// Resolves its packages from BENCH_MODULES, the folder into which the harness installed them.

import { createRequire } from 'node:module'
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const require = createRequire(`${process.env.BENCH_MODULES}/`)
const { Queue, Worker } = require('bullmq')

const settings = JSON.parse(process.argv[2])
const connection = { url: settings.url, maxRetriesPerRequest: null }
const chunk = 500
const notKept = settings.defaults ? {} : { removeOnComplete: true, removeOnFail: true }

const monotonic = () => Number(process.hrtime.bigint()) / 1e9
const clock = () => (performance.timeOrigin + performance.now()) / 1000
const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6 }

let queue, worker, marks = [], started = 0, ended = 0, expected = 0, first = 0, last = 0, used = 0, finished = () => {}
let declared = false

async function body() {
  if (!started) first = monotonic()
  started += 1
  if (settings.seconds) await sleep(settings.seconds)
  ended += 1
  if (ended === expected) { last = monotonic(); used = cpu(); finished() }
}

async function run(job) {
  if (job.name === 'body') await body()
  else if (job.name === 'second') appendFileSync(settings.effects, `${clock().toFixed(6)} ${process.pid}\n`)
  else marks.push([job.data.number, clock()])
}

async function open() {
  queue ??= new Queue(settings.name, { connection, defaultJobOptions: notKept })
  await queue.waitUntilReady()
}

async function inChunks(count, make) {
  for (let at = 0; at < count; at += chunk) {
    await Promise.all(Array.from({ length: Math.min(chunk, count - at) }, (_, offset) => make(at + offset)))
  }
}

async function declare() {
  if (settings.kind === 'second' && settings.schedules) {
    await queue.upsertJobScheduler('second', { pattern: '* * * * * *', tz: 'UTC' }, { name: 'second', opts: notKept })
  } else if (settings.kind !== 'runs' && settings.schedules) {
    const at = new Date(settings.slot * 1000)
    const due = `${at.getUTCSeconds()} ${at.getUTCMinutes()} * * * *`
    const pattern = settings.kind === 'idle' ? `0 ${settings.idle_hour} * * *` : due
    await inChunks(settings.tasks, number =>
      queue.upsertJobScheduler(`t${number}`, { pattern, tz: 'UTC' }, { name: 'marked', data: { number }, opts: notKept }))
  }
  declared = true
}

async function start() {
  await open()
  if (settings.works) worker = new Worker(settings.name, run, { connection, concurrency: settings.concurrency })
  declare().catch(error => { console.error(error); process.exit(1) })
}

async function within(patience, waited, otherwise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${otherwise()} within ${patience} s`)), patience * 1000)
  })
  try { await Promise.race([waited, late]) } finally { clearTimeout(timer) }
}

const requests = {
  async hello() {
    const packages = Object.fromEntries(['bullmq', 'ioredis'].map(name => [name, require(`${name}/package.json`).version]))
    return { node: process.versions.node, loop: 'libuv', packages, declared: 0 }
  },
  async queue({ runs }) {
    const began = monotonic()
    await open()
    for (let at = 0; at < runs; at += chunk) {
      await queue.addBulk(Array.from({ length: chunk }, () => ({ name: 'body', data: {} })))
    }
    return { seconds: monotonic() - began }
  },
  async run({ runs, patience }) {
    expected = runs
    const done = new Promise(resolve => { finished = resolve })
    const before = cpu(), began = monotonic()
    await start()
    await within(patience, done, () => `only ${ended} of ${runs} runs ended`)
    return { began, first, last, cpu: used - before }
  },
  async start({ patience }) {
    const before = cpu(), began = monotonic()
    await start()
    const ready = (async () => { while (!declared) await sleep(0.01); await worker?.waitUntilReady() })()
    await within(patience, ready, () => 'it does not take part')
    return { seconds: monotonic() - began, cpu: cpu() - before }
  },
  async trigger({ count, pause, first }) {
    const asked = []
    for (let number = first; number < first + count; number += 1) {
      asked.push([number, clock()])
      await queue.add('numbered', { number })
      await sleep(pause)
    }
    return { asked }
  },
  async marks() { const seen = marks; marks = []; return { marks: seen } },
  async left() {
    await open()
    return { left: await queue.getJobCountByTypes('wait', 'active', 'prioritized', 'paused'), started }
  },
  async facts() { return {} },
  async usage() { global.gc?.(); return { at: monotonic(), cpu: cpu(), rss: process.memoryUsage.rss() } },
  async stop() { return {} },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, ...request } = JSON.parse(line)
  let reply
  try { reply = await requests[what](request) }
  catch (error) { console.error(error); reply = { error: `${error.name}: ${error.message}`.slice(0, 500) } }
  process.stdout.write(`${JSON.stringify(reply)}\n`)
  if (what === 'stop') process.exit(0)
}
process.exit(0)
