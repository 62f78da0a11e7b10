// Colours of an agent's output: a line in pieces, each with the classes of its style.

const KNOWN = new Set([
  "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
  "bold", "dim", "italic", "underline",
]);

const classesOf = (style) =>
  String(style).split(" ").filter((name) => KNOWN.has(name)).map((name) => `ink-${name}`).join(" ");

// Places count characters, of which JavaScript takes some for two.
export function piecesOf(text, styles) {
  const characters = Array.from(text);
  const pieces = [];
  let at = 0;
  const add = (to, classes) => {
    if (to > at) pieces.push({ text: characters.slice(at, to).join(""), classes });
    at = Math.max(at, to);
  };
  for (const { start, length, style } of styles) {
    add(start, "");
    add(start + length, classesOf(style));
  }
  add(characters.length, "");
  return pieces;
}
