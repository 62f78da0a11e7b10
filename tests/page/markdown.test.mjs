import assert from "node:assert/strict";
import test from "node:test";
import { blocks, pieces } from "../../athanore/api/page/web/static/markdown.js";

test("the pieces of a line", () => {
  assert.deepEqual(pieces("See `a*b` and **it**, *so* _too_."), [
    { kind: "text", text: "See " },
    { kind: "code", text: "a*b" },
    { kind: "text", text: " and " },
    { kind: "strong", text: "it" },
    { kind: "text", text: ", " },
    { kind: "em", text: "so" },
    { kind: "text", text: " " },
    { kind: "em", text: "too" },
    { kind: "text", text: "." },
  ]);
  assert.deepEqual(pieces("snake_case_name and 2*3*4"), [{ kind: "text", text: "snake_case_name and 2*3*4" }]);
});

test("only addresses of the web become links", () => {
  assert.deepEqual(pieces("(https://a.example/x?y=1)."), [
    { kind: "text", text: "(" },
    { kind: "link", text: "https://a.example/x?y=1", url: "https://a.example/x?y=1" },
    { kind: "text", text: ")." },
  ]);
  assert.deepEqual(pieces("[log](http://b.example/l)"), [{ kind: "link", text: "log", url: "http://b.example/l" }]);
  for (const bad of ["[x](javascript:alert(1))", "[x](data:text/html,y)", "javascript:alert(1)", "<b>x</b>"]) {
    assert.deepEqual(pieces(bad), [{ kind: "text", text: bad }]);
  }
});

test("the blocks of a text", () => {
  const text = "# Plan\nFirst\nline\n\n- one\n  - [x] two\n3. three\n> said\n> so\n```sh\n# no heading\n```\n| a | b |\n---\nend";
  assert.deepEqual(blocks(text), [
    { kind: "heading", text: "Plan" },
    { kind: "text", text: "First\nline" },
    { kind: "item", text: "one", mark: "•", depth: 0 },
    { kind: "item", text: "two", mark: "☑", depth: 1 },
    { kind: "item", text: "three", mark: "3.", depth: 0 },
    { kind: "quote", text: "said\nso" },
    { kind: "code", text: "# no heading" },
    { kind: "code", text: "| a | b |" },
    { kind: "rule", text: "" },
    { kind: "text", text: "end" },
  ]);
});

test("no text takes long", () => {
  const began = performance.now();
  for (const one of ["[", "*", "**a", "`", "_a ", "https://", "![x](", "> ", "-", "- [ ] "]) {
    blocks(one.repeat(20_000)).forEach((block) => pieces(block.text));
    blocks(`${one}\n`.repeat(20_000)).forEach((block) => pieces(block.text));
  }
  assert.ok(performance.now() - began < 60_000, `${performance.now() - began} ms`);
});
