// Shows what people and agents wrote, with its Markdown and links. Elements are made one by one and
// their texts set as text: there is no HTML to be careful with.
import { button, make, outside } from "./elements.js";
import { blocks, pieces } from "./markdown.js";

const MUCH = 4000; // characters that are shown without being asked for

function inline(element, text) {
  for (const piece of pieces(text)) {
    if (piece.kind === "text") element.append(piece.text);
    else if (piece.kind === "link") element.append(outside(piece.text, piece.url));
    else element.append(make(piece.kind, "", piece.text));
  }
  return element;
}

function element(block) {
  switch (block.kind) {
    case "heading":
      return inline(make("p", "said-heading"), block.text);
    case "code":
      return make("pre", "", block.text);
    case "rule":
      return make("hr");
    case "quote":
      return inline(make("blockquote"), block.text);
    case "item": {
      const line = make("p", `said-item depth-${block.depth}`);
      line.append(make("span", "said-mark", block.mark), inline(make("span"), block.text));
      return line;
    }
    default:
      return inline(make("p"), block.text);
  }
}

// Fills an element; of a text that is very long only the beginning until more is wished for.
export function showProse(parent, text) {
  if (parent.dataset.said === text) return;
  parent.dataset.said = text;
  const all = () => parent.replaceChildren(...blocks(text).map(element));
  if (text.length <= MUCH) {
    all();
    return;
  }
  const words = `Show all ${text.length.toLocaleString()} characters`;
  parent.replaceChildren(...blocks(text.slice(0, MUCH)).map(element), button(words, "small", all));
}
