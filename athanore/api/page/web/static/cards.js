// The cards: the tasks of the board.
import { requeueTask } from "./actions.js";
import { $, button, make, setText } from "./elements.js";
import { page } from "./state.js";
import { money, worked } from "./sums.js";
import { now, ticking } from "./times.js";

export function showCard(card) {
  const text = JSON.stringify(card);
  let known = page.cards.get(card.id);
  if (known?.text === text) return known.element;
  if (!known) {
    const element = $("card-template").content.firstElementChild.cloneNode(true);
    element.dataset.task = card.id;
    element.draggable = true;
    known = { element };
    page.cards.set(card.id, known);
    element.querySelector(".card-open").addEventListener("click", () => {
      location.hash = `task/${encodeURIComponent(card.id)}`;
    });
  }
  const { element } = known;
  known.text = text;
  known.card = card;
  known.haystack = [card.id, card.name, ...card.labels, ...card.assignees].join("\n").toLowerCase();
  setText(element.querySelector(".card-name"), card.name);
  showLabels(element.querySelector(".labels"), card);
  element.classList.toggle("working", card.run?.phase === "working" || card.run?.phase === "stopping");
  element.classList.toggle("retrying", card.run?.phase === "retrying");
  element.classList.toggle("dead", Boolean(card.dead_letter));
  const state = element.querySelector(".card-state");
  const hadFocus = state.contains(document.activeElement);
  state.replaceChildren(...stateOf(card));
  if ((card.dead_letter || card.needs_person) && card.actions.includes("requeue")) {
    const requeue = button("Requeue", "", () => requeueTask(card));
    requeue.setAttribute("aria-label", `Requeue ${card.name}`);
    state.append(requeue);
  }
  showTaken(element, card);
  if (hadFocus) element.querySelector(".card-open").focus({ preventScroll: true });
  return element;
}

// What a task has taken so far, when no agent works on it.
export function showTaken(element, card) {
  const taken = card.run ? null : page.taken.get(card.id);
  const words = taken ? [worked(taken.seconds), money(taken)].filter(Boolean).join(" · ") : "";
  setText(element.querySelector(".taken"), words);
}

export function showLabels(list, card) {
  list.replaceChildren(
    ...card.labels.map((l) => make("li", "label", l)),
    ...card.assignees.map((a) => make("li", "label person", a)),
  );
}

export function stateOf(card) {
  const { run, dead_letter: letter } = card;
  if (run) {
    const line = make("p", `phase ${run.phase}`);
    const attempt = run.max_attempts > 1 ? `attempt ${run.attempt}/${run.max_attempts}` : "";
    if (run.phase === "working" || run.phase === "stopping") {
      const dot = make("span", "pulse");
      dot.setAttribute("aria-hidden", "true");
      line.append(dot, make("strong", "", run.phase === "working" ? "At work" : "Stopping"));
      if (attempt) line.append(make("span", "", attempt));
      if (run.since) line.append(ticking("since", run.since));
      const why = whyOf(card, false);
      return run.last_line && !why.length ? [line, ...lastLine(run.last_line)] : [line, ...why];
    }
    const retrying = run.phase === "retrying";
    const due = run.due && Date.parse(run.due) > now() + 500;
    const waits = retrying ? "Waits to retry" : "Waits";
    line.append(make("strong", "", due ? (retrying ? "Retries" : "Starts") : waits));
    if (due) line.append(ticking("due", run.due));
    return [line, ...whyOf(card, due)];
  }
  if (!letter) return card.needs_person ? [make("p", "reason", card.needs_person)] : whyOf(card, false);
  const line = make("p", "phase dead");
  const tries = letter.attempts ? ` after ${letter.attempts} attempt${letter.attempts > 1 ? "s" : ""}` : "";
  line.append(make("strong", "", `Given up${tries}`));
  if (letter.since) line.append(ticking("ago", letter.since));
  return [line, make("p", "reason", letter.reason)];
}

// What a task waits for, and until when, where the card does not say that already.
function whyOf(card, saysWhen) {
  if (!card.waits_for) return [];
  const why = make("p", "reason", card.waits_for);
  if (card.until && !saysWhen) why.append(" ", ticking("due", card.until));
  return [why];
}

// What the agent said last: with a bar if it told how far it is.
function lastLine(text) {
  const line = make("p", "last-line", text);
  const percent = /^(\d{1,3}(?:\.\d+)?) %(?:: |$)/.exec(text);
  if (!percent) return [line];
  const bar = make("progress", "card-progress");
  bar.max = 100;
  bar.value = Number(percent[1]);
  bar.setAttribute("aria-label", "Progress");
  return [bar, line];
}

// Where the cards are that are about to change their column, to let them slide from there.
export function placesOfMoved(next) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return [];
  const moved = next.filter((c) => {
    const known = page.cards.get(c.id);
    return known && known.card.queue_name !== c.queue_name;
  });
  if (moved.length > 20) return [];
  return moved.map((c) => {
    const { element } = page.cards.get(c.id);
    return [element, element.getBoundingClientRect()];
  });
}

export function slide(moved) {
  for (const [element, from] of moved) {
    const to = element.getBoundingClientRect();
    if (!to.width || !from.width) continue;
    element.animate(
      [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)`, opacity: 0.4 }, { transform: "none", opacity: 1 }],
      { duration: 260, easing: "cubic-bezier(.2,.7,.2,1)" },
    );
  }
}
