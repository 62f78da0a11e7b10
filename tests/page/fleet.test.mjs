import assert from "node:assert/strict";
import test from "node:test";
import { factsOf, stateOf } from "../../athanore/api/page/web/static/fleet.js";

const WORKER = { host: "", labels: [], agents: 1, limit: null, version: "", clock_offset: 0.4 };

test("what is known of a worker in words", () => {
  assert.deepEqual(factsOf(WORKER), ["1 agent"]);
  const more = { host: "mac", labels: ["macos", "big"], limit: 1, version: "3f2c", clock_offset: -1200 };
  assert.deepEqual(factsOf({ ...WORKER, ...more }), [
    "1 of 1 agents", "host mac", "macos, big", "version 3f2c", "clock 1200 s behind",
  ]);
});

test("the state of a worker in words", () => {
  assert.equal(stateOf({ state: "ready", says: "" }), "takes tasks");
  assert.equal(stateOf({ state: "full", says: "400 MB of memory are left" }), "full: 400 MB of memory are left");
});
