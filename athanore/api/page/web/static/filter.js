// Which cards are shown, and ways through them by keyboard.
import { moveTask } from "./actions.js";
import { $, setText } from "./elements.js";
import { page } from "./state.js";
import { compose } from "./writing.js";

export function applyFilter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const [, column] of page.columns) {
    let shown = 0;
    for (const element of column.list.children) {
      const known = page.cards.get(element.dataset.task);
      element.hidden = !words.every((w) => known.haystack.includes(w));
      shown += element.hidden ? 0 : 1;
    }
    const text = words.length ? `${shown} of ${column.count}` : String(column.count);
    setText(column.element.querySelector(".count"), text);
    setText(column.jump, `${column.element.querySelector(".column-name").textContent} ${text}`);
  }
}

function cardBeside(element, key) {
  const visible = (list) => [...list.children].filter((c) => !c.hidden);
  const list = element.closest(".cards");
  const here = visible(list);
  const index = here.indexOf(element);
  if (key === "ArrowDown") return here[index + 1];
  if (key === "ArrowUp") return here[index - 1];
  const all = [...document.querySelectorAll(".cards")];
  const step = key === "ArrowRight" ? 1 : -1;
  for (let i = all.indexOf(list) + step; all[i]; i += step) {
    const there = visible(all[i]);
    if (there.length) return there[Math.min(index, there.length - 1)];
  }
  return undefined;
}

export function startFilter() {
  $("filter").addEventListener("input", applyFilter);
  $("dead-count").addEventListener("click", () => {
    const first = page.board.cards.find((c) => c.dead_letter && !page.cards.get(c.id).element.hidden);
    if (!first) return;
    const { element } = page.cards.get(first.id);
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    element.querySelector(".card-open").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const writes = target.matches("input, textarea, select");
    if (event.key === "/" && !writes) {
      event.preventDefault();
      $("filter").focus();
    } else if (event.key === "n" && !writes) {
      event.preventDefault();
      compose();
    } else if (event.key === "m" && target.matches(".card-open")) {
      event.preventDefault();
      moveTask(page.cards.get(target.closest(".card").dataset.task).card);
    } else if (event.key === "Escape" && target === $("filter")) {
      target.value = "";
      applyFilter();
    } else if (event.key.startsWith("Arrow") && target.matches(".card-open")) {
      const next = cardBeside(target.closest(".card"), event.key);
      if (!next) return;
      event.preventDefault();
      next.querySelector(".card-open").focus();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  });
}
