// node bench/power-cut.mjs [--cuts 5] [--only everysec] [--program valkey-server]: what a power cut takes away.
//
// A server writes to an ext4 of its own, an image behind a loop device, while processes send. Then that file system is
// shut down without anything more being written to the image (EXT4_IOC_SHUTDOWN, what the tests of Linux's file systems
// use): what had only been in memory is gone. After the cut it is mounted again, the server started on what is there, and
// what was acknowledged before the cut is looked for. A disk that loses what it said was flushed loses more.
//
// Needs root, loop devices and perl, and the built package. Not part of `npm run bench`.
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect } from 'tidings'
import { repairAof, startRedis } from './redis-server.mjs'

const { values } = parseArgs({
  options: {
    cuts: { type: 'string', default: '5' },
    only: { type: 'string' },
    program: { type: 'string', default: 'redis-server' },
  },
})

const writers = 4
const aof = { appendonly: 'yes', 'aof-use-rdb-preamble': 'yes' }
/** How long processes send before the cut, in seconds: longer than what the mode keeps in memory. */
const modes = {
  always: { settings: { ...aof, appendfsync: 'always' }, seconds: [4, 6] },
  everysec: { settings: { ...aof, appendfsync: 'everysec' }, seconds: [5, 8] },
  no: { settings: { ...aof, appendfsync: 'no' }, seconds: [45, 75] },
  snapshots: { settings: { appendonly: 'no', save: '3600 1 300 100 60 10000' }, seconds: [70, 130] },
}

for (const [name, mode] of Object.entries(modes)) {
  if (values.only !== undefined && values.only !== name) continue
  const cuts = []
  for (let cut = 0; cut < Number(values.cuts); cut++) {
    cuts.push(await cutPower(mode))
    console.error(`${name}: ${JSON.stringify(cuts.at(-1))}`)
  }
  const spread = (of) => {
    const sorted = cuts.map((cut) => cut[of]).sort((a, b) => a - b)
    return [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].join(' / ')
  }
  const repaired = cuts.filter((cut) => cut.repaired).length
  console.log(
    `${name}: ${cuts.length} cuts at ${spread('rate')} messages/s; lost ${spread('lost')} messages, ` +
      `${spread('lostMs')} ms; ${repaired} times the file had to be repaired`,
  )
}

async function cutPower({ settings, seconds: [least, most] }) {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-power-cut-'))
  const disk = join(directory, 'disk')
  const image = join(directory, 'image')
  mkdirSync(disk)
  run('truncate', '-s', '512M', image)
  run('mkfs.ext4', '-q', '-F', image)
  run('mount', '-o', 'loop', image, disk)
  // What is made at the start is not what is measured.
  const server = await startRedis(values.program, disk, settings)
  run('sync', '-f', disk)
  try {
    const sending = await startWriters(server.url)
    await new Promise((resolve) => setTimeout(resolve, 1000 * (least + Math.random() * (most - least))))
    const cutAt = cutOff(disk)
    await server.stop('SIGKILL')
    const sent = (await Promise.all(sending.map(finish))).flat()
    const acknowledged = sent.filter(({ at }) => at < cutAt).sort((a, b) => a.at - b.at)
    run('umount', disk)
    run('mount', '-o', 'loop', image, disk)
    const { ids, repaired } = await idsAfterRestart(disk, settings)
    const lost = acknowledged.filter(({ id }) => !ids.has(id))
    const runMs = cutAt - acknowledged[0].at
    return {
      rate: Math.round((acknowledged.length / runMs) * 1000),
      acknowledged: acknowledged.length,
      lost: lost.length,
      lostMs: lost.length > 0 ? Math.round(cutAt - lost[0].at) : 0,
      repaired,
    }
  } finally {
    await server.stop('SIGKILL')
    run('umount', disk)
    rmSync(directory, { recursive: true, force: true })
  }
}

function run(program, ...args) {
  return execFileSync(program, args, { encoding: 'utf8' })
}

/** @returns a time just before it, in milliseconds */
function cutOff(disk) {
  // 0x8004587d is EXT4_IOC_SHUTDOWN, 2 says: without writing the journal.
  const script = `use Time::HiRes; open(my $disk, '<', $ARGV[0]) or die; my $how = pack('L', 2);
    my $at = Time::HiRes::time(); ioctl($disk, 0x8004587d, $how) or die "shutdown: $!"; printf('%.3f', 1000 * $at)`
  return Number(run('perl', '-e', script, disk))
}

async function startWriters(url) {
  const started = Array.from({ length: writers }, () => fork(new URL('power-cut-writer.mjs', import.meta.url)))
  for (const writer of started) writer.send(url)
  await Promise.all(started.map((writer) => once(writer, 'message')))
  return started
}

/** What it had acknowledged: ids and times. */
async function finish(writer) {
  const answer = once(writer, 'message')
  writer.send('stop')
  const [sent] = await answer
  return sent
}

async function idsAfterRestart(disk, settings) {
  let repaired = false
  const server = await startRedis(values.program, disk, settings).catch(() => {
    // A hole in the file: later pages of it were written, and earlier ones were not.
    repaired = true
    repairAof(values.program, disk)
    return startRedis(values.program, disk, settings)
  })
  const bus = await connect(server.url)
  try {
    const queue = bus.queue('cut')
    const ids = new Set()
    if (!(await bus.queues()).some(({ queue: name }) => name === 'cut')) return { ids, repaired }
    for (let after; ; ) {
      const page = await queue.peek({ limit: 1_000, ...(after === undefined ? {} : { after }) })
      for (const { id } of page) ids.add(id)
      if (page.length === 0) return { ids, repaired }
      after = page.at(-1).id
    }
  } finally {
    await bus.close()
    await server.stop()
  }
}
