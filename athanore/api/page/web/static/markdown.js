// Reads the Markdown that people and agents write: into blocks and pieces, never into HTML. What is
// no Markdown that we know stays as it was written. Lengths are bounded, so no text takes long.

const INLINE = new RegExp(
  [
    /`([^`\n]{1,1000})`/,
    /\*\*([^*\n]{1,1000})\*\*/,
    /(?<![\w*])\*([^*\s][^*\n]{0,500})\*(?![\w*])/,
    /(?<!\w)_([^_\s][^_\n]{0,500})_(?!\w)/,
    /\[([^[\]\n]{1,500})\]\((https?:\/\/[^\s()<>]{1,2000})\)/,
    /(https?:\/\/[^\s<>"'`]{1,2000})/,
  ]
    .map((r) => r.source)
    .join("|"),
  "g",
);

// The pieces of a line: {kind: "text" | "code" | "strong" | "em" | "link", text, url}.
export function pieces(text) {
  const found = [];
  let at = 0;
  const add = (kind, words, url) => words && found.push(url ? { kind, text: words, url } : { kind, text: words });
  for (const match of text.matchAll(INLINE)) {
    add("text", text.slice(at, match.index));
    at = match.index + match[0].length;
    const [, code, strong, star, line, label, target, bare] = match;
    if (code) add("code", code);
    else if (strong) add("strong", strong);
    else if (star || line) add("em", star || line);
    else if (label) add("link", label, target);
    else {
      const url = bare.replace(/[.,;:!?)\]]+$/, "");
      add("link", url, url);
      at -= bare.length - url.length;
    }
  }
  add("text", text.slice(at));
  return found;
}

const FENCE = /^\s{0,3}(```+|~~~+)/;
const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = /^(\s{0,12})(?:[-*+]|(\d{1,6})[.)])\s+(?:\[([ xX])\]\s+)?(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const RULE = /^\s{0,3}(?:-\s*){3,}$/;
const TABLE = /^\s*\|/;

// The blocks of a text: {kind: "heading" | "item" | "quote" | "code" | "rule" | "text", text, ...}.
export function blocks(text) {
  const found = [];
  let fence = null;
  const more = (kind, line, extra = {}) => {
    const last = found.at(-1);
    if (last?.kind === kind && last.open) last.text += `\n${line}`;
    else found.push({ kind, text: line, open: true, ...extra });
  };
  const one = (kind, line, extra = {}) => found.push({ kind, text: line, ...extra });
  const close = () => found.length && (found.at(-1).open = false);
  for (const line of text.split("\n")) {
    const fenced = FENCE.exec(line);
    let match;
    if (fence) {
      if (fenced && fenced[1].startsWith(fence)) {
        fence = null;
        close();
      } else more("code", line);
    } else if (fenced) {
      fence = fenced[1];
      close();
    } else if (!line.trim()) close();
    else if ((match = HEADING.exec(line))) one("heading", match[1]);
    else if (RULE.test(line)) one("rule", "");
    else if ((match = ITEM.exec(line))) {
      const [, indent, number, box, words] = match;
      const mark = box === undefined ? (number ? `${number}.` : "•") : box === " " ? "☐" : "☑";
      one("item", words, { mark, depth: Math.min(3, Math.floor(indent.length / 2)) });
    } else if ((match = QUOTE.exec(line))) more("quote", match[1]);
    else if (TABLE.test(line)) more("code", line);
    else more("text", line);
  }
  return found.map(({ open, ...block }) => block);
}
