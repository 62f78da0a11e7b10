import assert from "node:assert/strict";
import test from "node:test";
import { isPaused, switches, watchNote } from "../../athanore/api/page/web/static/watching.js";

const route = (name, more = {}) => ({
  name,
  agent: "sh",
  poll_interval: 30,
  deployed: true,
  paused: [],
  pause_reason: null,
  ...more,
});
const paused = { paused: ["polls", "agents"] };

test("of one route a column says what it always said", () => {
  const note = (more) => watchNote({ routes: [route("Todo", more)] }, true);
  assert.equal(note({}), "Watched every 30 s");
  assert.equal(note({ deployed: false }), "Not deployed: run athanore deploy");
  assert.equal(note(paused), "Paused: no agent starts");
  assert.equal(note({ paused: ["polls"] }), "Paused: not looked at");
  assert.equal(note({ ...paused, pause_reason: "Five failed alike." }), "Five failed alike.");
  assert.equal(watchNote({ routes: [route("Todo", { deployed: false })] }, false), "Watched every 30 s");
});

test("of several routes it names those with which something is amiss, whichever it is", () => {
  const routes = [route("bugs"), route("features", { ...paused, pause_reason: "Out of budget." })];
  assert.equal(watchNote({ routes }, true), "features: Out of budget.");
  routes.push(route("Todo", { deployed: false }), route("docs", { deployed: false }));
  assert.equal(
    watchNote({ routes }, true),
    "Not deployed (Todo, docs): run athanore deploy · features: Out of budget.",
  );
});

test("each route that is deployed is paused by its own name", () => {
  const routes = [route("bugs", paused), route("Todo"), route("docs", { deployed: false })];
  assert.deepEqual(switches({ routes }), [
    { name: "bugs", verb: "Resume" },
    { name: "Todo", verb: "Pause" },
  ]);
});

test("a queue is paused when all of its routes are", () => {
  assert.equal(isPaused({ routes: [] }), false);
  assert.equal(isPaused({ routes: [route("bugs", paused), route("features")] }), false);
  assert.equal(isPaused({ routes: [route("bugs", paused)] }), true);
});
