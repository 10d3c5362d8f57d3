// Echoes bytes with ASCII a-z in upper case: node server.mjs PORT
//
// Node reads by itself and stores what the kernel does not accept, without limit: `write` is false
// when reading should pause, and 'drain' follows. With allowHalfOpen a client's FIN ends
// nothing by itself, and 'end' comes only after the last byte that was read.

import net from 'node:net'

const DRAIN_MS = 5000
const SETTLE_MS = 1000
const QUIET_TURNS = 10

const clients = new Set()
let accepted = 0
let stopping = false

function upper(bytes) {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] >= 0x61 && bytes[i] <= 0x7a) bytes[i] -= 0x20
  }
  return bytes
}

function serve(socket) {
  const client = { socket, ended: false, heard: false }
  clients.add(client)
  accepted++
  socket.on('data', (bytes) => {
    if (client.ended) return // our FIN is sent: read on, for RST destroys answers
    client.heard = true
    if (!socket.write(upper(bytes))) socket.pause()
  })
  socket.on('drain', () => socket.resume())
  // Here the close is decided: FIN, after pending output. A reset is an 'error', and
  // 'close' follows it too; nothing is to do, but without a listener it would end the process.
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
  socket.on('close', () => clients.delete(client))
}

// A turn of the loop asks the kernel for all that is ready: after a whole one a listener has
// accepted at least one waiting connection, and a socket has read some of its input. A signal may
// interrupt its wait, which then tells nothing: only several quiet turns in a row prove something.
function turn() {
  return new Promise((done) => setImmediate(() => setImmediate(done)))
}

// What had arrived is answered once turns read no more; then comes our FIN. Node cannot ask how
// much is unread, so a client that never pauses is answered until the timeout.
async function finish(client) {
  const last = performance.now() + SETTLE_MS
  for (let quiet = 0; quiet < QUIET_TURNS && performance.now() < last; quiet++) {
    while (client.socket.isPaused()) await new Promise((done) => client.socket.once('resume', done))
    client.heard = false
    await turn()
    if (client.heard || client.socket.isPaused()) quiet = -1
  }
  client.ended = true
  client.socket.end()
}

async function stop() {
  if (stopping) return
  stopping = true
  for (let quiet = 0; quiet < QUIET_TURNS; quiet++) { // accept the backlog
    const before = accepted
    await turn()
    if (accepted > before) quiet = -1
  }
  server.close()
  setTimeout(() => process.exit(), DRAIN_MS).unref()
  for (const client of clients) finish(client)
}

const port = Number(process.argv[2] || NaN)
if (process.argv.length !== 3 || !Number.isInteger(port) || port < 0 || port > 65535) {
  console.error('server.mjs: expected one argument, a port from 0 to 65535')
  process.exit(2)
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 65536 }, serve)
server.on('error', (error) => {
  if (server.listening) return // accept failed: try again
  console.error(`server.mjs: cannot listen on port ${port}: ${error.code}`)
  process.exit(1)
})
process.on('SIGTERM', stop) // before anybody can connect
process.on('SIGINT', stop)
server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
  process.stdout.on('error', () => {}) // standard output may be closed
  process.stdout.write(`listening on 127.0.0.1:${server.address().port}\n`)
})
