// A client in Node, by fetch: `client.mjs URL BYTES get|all`. Prints ok.
import assert from "node:assert";
import { createHash } from "node:crypto";

const [url, bytes, what] = process.argv.slice(2);
const size = Number(bytes);
const BLOCK = Buffer.from(Array.from({ length: 251 * 256 }, (_, i) => i % 251));

function* pieces(n) {
  for (; n > 0; n -= BLOCK.length) yield BLOCK.subarray(0, Math.min(n, BLOCK.length));
}

// As ReadableStream.from, which Node 18 has not.
function stream(parts) {
  return new ReadableStream({
    pull(controller) {
      const { value, done } = parts.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

async function sha(parts) {
  const sum = createHash("sha256");
  for await (const part of parts) sum.update(part);
  return sum.digest("hex");
}

async function get(path, n) {
  const response = await fetch(url + path);
  assert.equal(response.status, 200);
  assert.equal(await sha(response.body), await sha(pieces(n)), path);
}

async function post(body) {
  const response = await fetch(url + "/sha", { method: "POST", body, duplex: "half" });
  assert.equal(await response.text(), await sha(pieces(size)));
}

await Promise.all(Array.from({ length: 10 }, () => get("/bytes/1000", 1000)));
await get(`/bytes/${size}`, size);
if (what === "all") {
  await get(`/stream/${size}`, size);
  await post(Buffer.concat([...pieces(size)]));
  await post(stream(pieces(size)));
}
console.log("ok");
