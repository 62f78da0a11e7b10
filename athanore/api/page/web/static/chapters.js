// The transcript's chapters: one for each attempt, folded but for the newest.
import { piecesOf } from "./colours.js";
import { $, make, setText } from "./elements.js";
import { moment } from "./times.js";
import { endOf, linesOf } from "./words.js";

const MOST_LINES = 5000;

let chapters = []; // {element, title, end, body, runId, time, replaceable, said, saidAt}
let count = 0;

// Begins anew, for another task.
export function forgetChapters() {
  chapters = [];
  count = 0;
  $("transcript").replaceChildren(make("p", "none", "Nothing yet."));
}

function begin(title, runId, at) {
  const element = make("details", "chapter");
  const summary = make("summary");
  const time = at ? moment.format(new Date(at)) : "";
  const parts = { element, end: make("span", "chapter-end"), body: make("div"), replaceable: {} };
  const chapter = { ...parts, title, runId, time, said: [], saidAt: {} };
  summary.append(make("strong", "", title), " ", make("span", "quiet", time), " ", chapter.end);
  summary.addEventListener("click", () => (chapter.touched = true));
  element.append(summary, chapter.body);
  for (const earlier of chapters) if (!earlier.touched) earlier.element.open = false;
  element.open = true;
  chapters.push(chapter);
  $("transcript").append(element);
  return chapter;
}

function chapterOf(event) {
  if (event.kind === "claimed") {
    const { queue, attempt } = event.data;
    return begin(`${queue}, attempt ${attempt}`, event.run_id, event.at);
  }
  // The last words of a run may come after the first ones of the next.
  const own = event.run_id && chapters.findLast((c) => c.runId === event.run_id);
  return own || chapters.at(-1) || begin("Before an agent started", null, null);
}

function show({ kind, mood, text, percent, styles }, at) {
  const line = make("p", [kind, mood].filter(Boolean).join(" "), styles ? undefined : text);
  for (const piece of styles ? piecesOf(text, styles) : []) {
    line.append(piece.classes ? make("span", piece.classes, piece.text) : piece.text);
  }
  line.title = moment.format(new Date(at));
  if (percent !== undefined) {
    const bar = make("progress");
    bar.max = 100;
    bar.value = percent;
    bar.setAttribute("aria-label", "Progress");
    line.prepend(bar, " ");
  }
  return line;
}

// Adds an event; the newest is in sight if it was before.
export function addEvent(event) {
  const log = $("transcript");
  const lines = linesOf(event);
  const end = endOf(event);
  if (!lines.length && !end && event.kind !== "claimed") return;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.querySelector(":scope > .none")?.remove();
  const chapter = chapterOf(event);
  if (end) {
    setText(chapter.end, end);
    chapter.end.dataset.end = event.kind;
  }
  for (const line of linesOf(event, { whole: true })) keep(chapter, line);
  for (const line of lines) {
    const element = show(line, event.at);
    const earlier = line.replaces && chapter.replaceable[line.replaces];
    if (line.replaces) chapter.replaceable[line.replaces] = element;
    if (earlier?.isConnected) earlier.remove();
    else count += 1;
    chapter.body.append(element);
  }
  trim(log);
  if ($("transcript-search").value) searchTranscript();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// Keeps what a line says, for the download: the page itself shows only the last of many lines.
function keep({ said, saidAt }, { text, replaces }) {
  if (replaces) {
    delete said[saidAt[replaces]];
    saidAt[replaces] = said.length;
  }
  said.push(text);
}

function trim(log) {
  if (count <= MOST_LINES) return;
  for (const { body } of chapters) {
    while (count > MOST_LINES && body.firstElementChild) {
      body.firstElementChild.remove();
      count -= 1;
    }
  }
  if (!log.querySelector(":scope > .earlier")) {
    log.prepend(make("p", "earlier none", `Only the last ${MOST_LINES} lines are shown here; the download has all of them.`));
  }
}

// Shows only lines with the words that are searched for, and says how many there are.
export function searchTranscript() {
  const words = $("transcript-search").value.trim().toLowerCase();
  let found = 0;
  for (const chapter of chapters) {
    let here = 0;
    for (const line of chapter.body.children) {
      line.hidden = Boolean(words) && !line.textContent.toLowerCase().includes(words);
      here += line.hidden ? 0 : 1;
    }
    chapter.element.hidden = Boolean(words) && !here;
    if (words && here) chapter.element.open = true;
    found += here;
  }
  setText($("transcript-found"), words ? `${found} ${found === 1 ? "line" : "lines"}` : "");
}

// The whole transcript as a text.
export function transcriptText() {
  return chapters
    .map((c) => {
      const end = c.end.textContent ? ` (${c.end.textContent})` : "";
      const lines = c.said.filter(() => true); // without those that were replaced
      return [`== ${c.title}, ${c.time}${end}`, ...lines, ""].join("\n");
    })
    .join("\n");
}
