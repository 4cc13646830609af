// A billing system: appends the events of the billing queue to a file, one a line, each one once.
// An event is acknowledged when it is on the disk, so at worst one comes again: it can be stopped,
// killed, and started again at any time. Only one at a time may write to a file.
const fs = require('node:fs')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')
const { parseArgs } = require('node:util')
const amqp = require('amqplib')

const USAGE = 'usage: AMQP_URL=... node biller.js [--count STOP_AFTER_SO_MANY_NEW_EVENTS] LEDGER'
const QUEUE = 'billing.entries.v1'
const KNOWN = ['reservation.confirmed', 'reservation.credited'] // a charge; one taken back
const PAUSES = [1, 2, 4, 8, 16] // seconds before it connects again; then it gives up
const fail = message => { console.error(message); process.exit(1) }

class Ledger {
  constructor (file) {
    this.file = fs.openSync(file, 'a+')
    const bytes = fs.readFileSync(file)
    const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1)
    fs.ftruncateSync(this.file, whole.length) // a crash cut off the rest: that event comes again
    const lines = whole.toString().split('\n').filter(line => line !== '')
    this.ids = new Set(lines.map(line => JSON.parse(line).id))
    const folder = fs.openSync(path.dirname(file)) // a new file's name has to get to the disk too
    fs.fsyncSync(folder)
    fs.closeSync(folder)
  }

  addIfNew (event) {
    if (this.ids.has(event.id)) return false
    fs.appendFileSync(this.file, JSON.stringify(event) + '\n')
    fs.fsyncSync(this.file)
    this.ids.add(event.id)
    return true
  }
}

async function main (url) {
  const options = { count: { type: 'string' }, help: { type: 'boolean' } }
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  if (values.help) return console.log(USAGE)
  let [left, failures, connection, channel] = [Number(values.count ?? Infinity), 0]
  if (!url || positionals.length !== 1 || !(left > 0)) fail(USAGE)
  const ledger = new Ledger(positionals[0])

  function take (message) {
    if (!message) fail('the queue was deleted')
    if (left <= 0) return // it comes again
    const event = JSON.parse(message.content)
    const isNew = KNOWN.includes(event.type) && ledger.addIfNew(event)
    channel.ack(message)
    if (isNew) console.log(event.id, event.type, event.data?.amount_minor)
    if (isNew && --left <= 0) channel.close().finally(() => process.exit(0))
  }

  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
  for (;;) {
    try {
      connection = await amqp.connect(url, { timeout: 10000 })
      const lost = new Promise((_, reject) => connection.on('error', reject).on('close', reject))
      lost.catch(() => {}) // in case that nothing waits at that moment
      channel = await connection.createChannel()
      channel.on('error', error => connection.emit('error', error))
      await channel.prefetch(100)
      await channel.consume(QUEUE, message => {
        try { take(message) } catch (error) { fail(error.message) }
      })
      failures = 0
      await lost
    } catch (error) {
      console.error(`connecting again after ${error}`)
      connection?.close().catch(() => {})
    }
    if (failures === PAUSES.length) fail('gave up')
    await sleep(PAUSES[failures++] * 1000)
  }
}

main(process.env.AMQP_URL).catch(error => fail(error.message))
