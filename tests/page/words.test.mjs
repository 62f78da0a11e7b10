import assert from "node:assert/strict";
import test from "node:test";
import { endOf, linesOf } from "../../athanore/api/page/web/static/words.js";

const lines = (kind, data) => linesOf({ kind, data });

test("output is its lines", () => {
  const data = { lines: [{ stream: "stdout", text: "a" }, { stream: "stderr", text: "b" }] };
  assert.deepEqual(lines("output", data), [{ kind: "", text: "a" }, { kind: "stderr", text: "b" }]);
  const styles = [{ start: 0, length: 1, style: "red" }];
  const coloured = lines("output", { lines: [{ stream: "stdout", text: "a", styles }] });
  assert.deepEqual(coloured, [{ kind: "", text: "a", styles }]);
});

test("progress and costs replace what was said before", () => {
  assert.deepEqual(lines("progress", { percent: 40, text: "Step 4" }), [
    { kind: "mark-line", mood: "", text: "40 %: Step 4", percent: 40, replaces: "progress" },
  ]);
  assert.equal(lines("cost", { cost_usd: 0.5, input_tokens: 3 })[0].text, "$0.5000 · 3 tokens in");
  assert.deepEqual(lines("cost", {}), []);
});

test("long values are cut, and why a task was given up is told", () => {
  assert.ok(lines("tool-use", { name: "x", input: { a: "b".repeat(9000) } })[0].text.length < 420);
  const whole = linesOf({ kind: "tool-use", data: { name: "x", input: "b".repeat(9000) } }, { whole: true });
  assert.equal(whole[0].text.length, 9004);
  assert.equal(lines("dead-lettered", { queue: "Failed", reason: "exit code 1" })[0].text, "Given up, in Failed: exit code 1");
  assert.equal(endOf({ kind: "dead-lettered" }), "given up");
  assert.equal(endOf({ kind: "output" }), null);
});

test("questions and what becomes of them are told", () => {
  const said = (kind, data) => lines(kind, { question_id: "7f3a", ...data }).map((line) => line.text);
  assert.deepEqual(said("asked", { question: "Which database?" }), ["Asks: Which database?"]);
  assert.deepEqual(said("answered", { answer: "PostgreSQL", by: "Ada" }), ["Answer by Ada: PostgreSQL"]);
  const expired = said("expired", { reason: "nobody has answered in time" });
  assert.deepEqual(expired, ["Question 7f3a has expired: nobody has answered in time"]);
  const withdrawn = said("withdrawn", { reason: "its run has ended" });
  assert.deepEqual(withdrawn, ["Question 7f3a was withdrawn: its run has ended"]);
});
