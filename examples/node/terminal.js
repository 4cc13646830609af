// A terminal: reserves a server, reconfirms, and prints how to connect once that is confirmed.
// Whatever fails, it starts over, or can be run again: with the same --order and times, it sends
// the same messages with the same ids, and gets the same answers.
const { randomUUID } = require('node:crypto')
const { EventEmitter, once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { parseArgs, promisify } = require('node:util')
const amqp = require('amqplib')

const USAGE = 'usage: AMQP_URL=... node terminal.js [--order ID] SERVER START END (RFC 3339)'
const PAUSES = [1, 2, 4, 8, 16] // seconds before it starts over; then it gives up
const ANSWER_MS = 30000 // for the publisher confirm and the answer
const trace = process.env.TRACEPARENT // of the program that started this one
const PROPERTIES = { contentType: 'application/json', mandatory: true, persistent: true }
if (trace) PROPERTIES.headers = { traceparent: trace }
const fail = message => { console.error(message); process.exit(1) }

async function reserve (connection, name, order, [server, start, end]) {
  const channel = await connection.createConfirmChannel()
  const failed = new Promise((resolve, reject) => {
    connection.on('error', reject).on('close', () => reject(new Error('disconnected')))
    channel.on('error', reject).on('return', () => fail(`there is no such server as ${server}`))
  })
  failed.catch(() => {}) // in case that nothing waits at that moment
  const [replies, seen] = [new EventEmitter(), new Set()]
  await channel.consume(`reservation.replies.v1.${name}`, message => {
    const { messageId, correlationId } = message.properties
    const reply = JSON.parse(message.content)
    const isNotice = ['reservation.confirmed', 'reservation.cancelled'].includes(reply.type)
    const about = correlationId ?? (isNotice && reply.reservation.id)
    if (about && !seen.has(messageId)) replies.emit(`about ${about}`, reply)
    seen.add(messageId)
    channel.ack(message)
  })

  async function ask (command, body) {
    const messageId = `${order}.${command}`
    const answered = once(replies, `about ${messageId}`, { signal: AbortSignal.timeout(ANSWER_MS) })
    const confirmed = promisify(channel.publish).call(
      channel, 'reservation.commands.v2', `${name}.${command}`, Buffer.from(JSON.stringify(body)),
      { userId: name, messageId, ...PROPERTIES })
    const [[answer]] = await Promise.race([failed, Promise.all([answered, confirmed])])
    if (answer.type !== 'reservation.refused') return answer.reservation
    const refused = `${command} refused, ${answer.code}: ${answer.message}`
    if (answer.retry !== 'same_id') fail(refused)
    await sleep(answer.retry_after_ms)
    throw new Error(refused) // nothing was decided: start over
  }

  const held = await ask(`request.${server}`, { start_at: start, end_at: end })
  const notice = once(replies, `about ${held.id}`)
  if (held.state === 'held') await ask(`reconfirm.${server}`, { reservation: held.id }) // else a late booking
  const now = await ask('show', { reservation: held.id }) // as it is by now, with its access key
  return now.settled_at ? now : (await Promise.race([failed, notice]))[0].reservation
}

async function main (url) {
  const options = { order: { type: 'string', default: randomUUID() }, help: { type: 'boolean' } }
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  if (values.help) return console.log(USAGE)
  if (!url || positionals.length !== 3) fail(USAGE)
  const name = decodeURIComponent(new URL(url).username)
  for (const pause of PAUSES) {
    let connection
    try {
      connection = await amqp.connect(url, { timeout: 10000 })
      const reservation = await reserve(connection, name, values.order, positionals)
      if (reservation.state === 'cancelled') fail(`cancelled: ${reservation.cancel_reason}`)
      return console.log(reservation.connection.url)
    } catch (error) {
      console.error(`starting over after ${error.cause ?? error}`)
    } finally {
      connection?.close().catch(() => {}) // it may be lost
    }
    await sleep(pause * 1000)
  }
  fail(`gave up; to go on: --order ${values.order}`)
}

main(process.env.AMQP_URL).catch(error => fail(error.message))
