import assert from "node:assert/strict";
import test from "node:test";
import { piecesOf } from "../../athanore/api/page/web/static/colours.js";

const pieces = (text, ...styles) =>
  piecesOf(text, styles.map(([start, length, style]) => ({ start, length, style }))).map((p) => [p.text, p.classes]);

test("a line is cut where its style changes", () => {
  assert.deepEqual(pieces("ok 3 failed", [0, 2, "green"], [3, 8, "red bold"]), [
    ["ok", "ink-green"], [" ", ""], ["3 failed", "ink-red ink-bold"],
  ]);
  assert.deepEqual(pieces("plain"), [["plain", ""]]);
});

test("places count characters, whatever JavaScript counts", () => {
  assert.deepEqual(pieces("🎉🎉 done", [3, 4, "cyan"]), [["🎉🎉 ", ""], ["done", "ink-cyan"]]);
});

test("what is no style, or is beyond the line, changes nothing of the text", () => {
  const odd = pieces("abc", [1, 1, "x\" onload=1 toString"], [2, 90, "red"], [1, 5, "blue"]);
  assert.deepEqual(odd, [["a", ""], ["b", ""], ["c", "ink-red"]]);
});
