// A server in Node. Prints its port.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const BLOCK = Buffer.from(Array.from({ length: 251 * 256 }, (_, i) => i % 251));

function* pieces(n) {
  for (; n > 0; n -= BLOCK.length) yield BLOCK.subarray(0, Math.min(n, BLOCK.length));
}

const server = createServer(async (request, response) => {
  const [, what, n] = request.url.split("/");
  if (what === "sha") {
    const sum = createHash("sha256");
    for await (const part of request) sum.update(part);
    response.end(sum.digest("hex"));
    return;
  }
  if (what === "bytes") response.setHeader("Content-Length", n);
  await pipeline(Readable.from(pieces(Number(n))), response);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
