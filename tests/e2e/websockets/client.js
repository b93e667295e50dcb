// Talks to an echo over WebSocket at the URL given, and says "ok" when all was as it should be.
const assert = require('assert');
const crypto = require('crypto');
const WebSocket = require('ws');

const url = process.argv[2];

function open() {
  const connection = new WebSocket(url, { maxPayload: 0 });
  const messages = [];
  const waiting = [];
  connection.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else messages.push(message);
  });
  connection.next = () =>
    messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve));
  connection.closed = new Promise((resolve) =>
    connection.on('close', (code, reason) => resolve([code, reason.toString()])),
  );
  return new Promise((resolve, reject) => {
    connection.on('open', () => resolve(connection));
    connection.on('error', reject);
  });
}

async function main() {
  // Small and large, text and binary, in fragments, and a ping between them.
  const connection = await open();
  const random = crypto.randomBytes(5 << 20);
  for (const message of ['hello', '', 'ü'.repeat(70_000), random.subarray(0, 125), random]) {
    connection.send(message);
    assert.deepStrictEqual(await connection.next(), message);
  }
  connection.send('a', { fin: false });
  connection.send('b'.repeat(100_000), { fin: true });
  assert.strictEqual(await connection.next(), 'a' + 'b'.repeat(100_000));
  const pong = new Promise((resolve) => connection.on('pong', resolve));
  connection.ping('are you there');
  assert.strictEqual((await pong).toString(), 'are you there');

  // Many at once, both ways.
  for (let number = 0; number < 2_000; number++) {
    connection.send(String(number).repeat(number % 50));
  }
  for (let number = 0; number < 2_000; number++) {
    assert.strictEqual(await connection.next(), String(number).repeat(number % 50));
  }
  connection.close(1000, 'done');
  assert.deepStrictEqual(await connection.closed, [1000, 'done']);

  // A close of the server's.
  const other = await open();
  other.send('close');
  assert.deepStrictEqual(await other.closed, [4001, 'asked']);

  // Many connections.
  const one = async (number) => {
    const connection = await open();
    connection.send(`I am ${number}`);
    assert.strictEqual(await connection.next(), `I am ${number}`);
    connection.close();
    await connection.closed;
  };
  await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
