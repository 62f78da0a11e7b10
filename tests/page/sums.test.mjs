import assert from "node:assert/strict";
import test from "node:test";
import { money, todayIn, worked } from "../../athanore/api/page/web/static/sums.js";

test("times and money in words", () => {
  assert.deepEqual([0, 89, 100, 3540, 4320].map(worked), ["0 s", "89 s", "2 min", "59 min", "1 h 12 min"]);
  assert.equal(money({ cost_usd: 3.4, estimated_usd: 0 }), "$3.40");
  assert.equal(money({ cost_usd: 0.0042, estimated_usd: 0.001 }), "about $0.0042");
  assert.equal(money({ cost_usd: null, estimated_usd: 0 }), "");
});

test("what was done today", () => {
  const total = { seconds: 4320, cost_usd: 3.4, estimated_usd: 0, unmeasured: 0 };
  assert.equal(todayIn({ done: 14, given_up: 2, total }), "today: 14 done, 2 given up, 1 h 12 min of agents, $3.40");
  const unknown = { seconds: 5, cost_usd: null, estimated_usd: 0, unmeasured: 3 };
  assert.equal(todayIn({ done: 1, given_up: 0, total: unknown }), "today: 1 done, 5 s of agents, cost unmeasured");
});
