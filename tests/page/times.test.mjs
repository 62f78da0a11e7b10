import assert from "node:assert/strict";
import test from "node:test";
import { clock, now, setClock, span } from "../../athanore/api/page/web/static/times.js";

test("a clock has minutes and hours", () => {
  assert.deepEqual([0, 59.9, 60, 3599, 3600, 36061, -5].map(clock), ["0:00", "0:59", "1:00", "59:59", "1:00:00", "10:01:01", "0:00"]);
});

test("a span has one unit", () => {
  assert.deepEqual([1, 89, 90, 5399, 5400, 129600].map(span), ["1 s", "89 s", "2 min", "90 min", "2 h", "2 days"]);
});

test("the server's clock counts when it differs by more than its whole seconds", () => {
  setClock(Date.now() - 900);
  assert.ok(Math.abs(now() - Date.now()) < 450);
  setClock(Date.now() + 60_000);
  assert.ok(now() - Date.now() > 59_000);
});
