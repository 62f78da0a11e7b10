import assert from "node:assert/strict";
import test from "node:test";
import { events } from "../../athanore/api/page/web/static/stream.js";

async function read(...pieces) {
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  const found = [];
  for await (const event of events(body)) found.push(event);
  return found;
}

test("events that are cut anywhere are whole again", async () => {
  const bytes = new TextEncoder().encode('id: 1\nevent: output\ndata: {"a":\ndata: "é"}\n\n: still here\n\nid: 2\ndata: x\n\n');
  for (let cut = 0; cut < bytes.length; cut += 1) {
    const [first, second, third] = await read(bytes.slice(0, cut), bytes.slice(cut));
    assert.deepEqual(first, { id: "1", name: "output", data: '{"a":"é"}' });
    assert.equal(second.data, "");
    assert.deepEqual(third, { id: "2", data: "x" });
  }
});
