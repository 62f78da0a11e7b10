import assert from "node:assert/strict";
import test from "node:test";
import { linkOf } from "../../athanore/api/page/web/static/linked.js";

const HERE = { starting: false, board_error: null, prefect_error: null };

test("the page is live only while the board and Prefect answer", () => {
  assert.deepEqual(linkOf(HERE), ["live", "Live"]);
  assert.deepEqual(linkOf({ ...HERE, prefect_error: "Prefect does not answer." }), ["lost", "Prefect is away"]);
  assert.deepEqual(linkOf({ ...HERE, board_error: "no such file" }), ["lost", "The board is away"]);
  const neither = { ...HERE, board_error: "no such file", prefect_error: "Prefect does not answer." };
  assert.deepEqual(linkOf(neither), ["lost", "Board and Prefect are away"]);
  assert.deepEqual(linkOf({ ...neither, starting: true }), ["connecting", "Starting"]);
});
