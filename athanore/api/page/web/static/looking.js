// Looks at the board every moment, and does what people ask for.
import { Refusal, request } from "./calls.js";
import { say } from "./dialogs.js";
import { $, setText } from "./elements.js";
import { linkOf } from "./linked.js";
import { page } from "./state.js";
import { setClock } from "./times.js";

const LOOK_EVERY = 1500;
const LOOK_AGAIN = 4000; // after an error
const LOOK_SOON = 500; // while the app is starting
const PATIENCE = 30_000;

let etag = null;
let timer = 0;
let looking = null; // the look that is under way
let following = null; // the one after it
let show = () => {};

// Begins; what the board is then goes to a function, whenever it has changed.
export function startLooking(shown) {
  show = shown;
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  return look();
}

function link(state, text) {
  $("link-state").dataset.state = state;
  setText($("link-text"), text);
}

// Looks now. While a look is under way, which may have read too early, all who wish for one share
// the next: there is one look at a time.
function look() {
  if (looking) {
    following ??= looking.then(look);
    return following;
  }
  looking = lookAndGoOn();
  return looking;
}

async function lookAndGoOn() {
  clearTimeout(timer);
  const pause = await lookOnce();
  looking = following = null;
  if (!document.hidden) timer = setTimeout(look, pause);
}

async function lookOnce() {
  try {
    const response = await request("GET", "/board", {
      headers: etag ? { "If-None-Match": etag } : {},
      patience: PATIENCE,
      quiet: true,
    });
    setClock(Date.parse(response.headers.get("date")));
    if (response.status !== 304) {
      const next = await response.json();
      etag = response.headers.get("etag");
      show(next);
    }
    link(...linkOf(page.board));
    return page.board.starting ? LOOK_SOON : LOOK_EVERY;
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) link("lost", "Locked: reload to unlock");
    else link("lost", "No answer");
    $("board").setAttribute("aria-busy", "false");
    return LOOK_AGAIN;
  }
}

// Sends what a person has asked for and says how it went; the page then shows what came of it.
export async function act(path, body, done) {
  try {
    await request("POST", path, { body });
    say(done);
  } catch (error) {
    say(error.message, true);
  }
  await refresh();
}

// Shows what has come of something that was done.
export async function refresh() {
  await look();
  document.dispatchEvent(new CustomEvent("task-changed"));
}
