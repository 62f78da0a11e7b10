// The transcript of a task over all its stages and attempts, live.
import { Refusal, request, taskPath } from "./calls.js";
import { addEvent, forgetChapters, searchTranscript, transcriptText } from "./chapters.js";
import { $, setText } from "./elements.js";
import { untilShown, whileShown } from "./shown.js";
import { page } from "./state.js";
import { events } from "./stream.js";

const REFRESHING = new Set([
  "comment", "moved", "claimed", "retrying", "finished", "failed", "cancelled", "dead-lettered",
  "asked", "answered", "expired", "withdrawn", // a comment tells of each
]);

let stream = null;
let refresh = 0;

export function stopFollowing() {
  stream?.abort();
  stream = null;
}

// Shows what the agents of a task do, until another task is followed.
export async function follow(id) {
  stopFollowing();
  const mine = (stream = new AbortController());
  forgetChapters();
  $("transcript-search").value = "";
  setText($("transcript-found"), "");
  setText($("transcript-state"), "Connecting");
  let last = null;
  while (!mine.signal.aborted) {
    await untilShown();
    const shown = whileShown(mine.signal);
    try {
      const headers = { Accept: "text/event-stream" };
      if (last) headers["Last-Event-ID"] = last;
      const response = await request("GET", taskPath(id, "/events?follow=true&whole=true"), {
        headers,
        signal: shown.signal,
        quiet: true,
      });
      showLiveness();
      for await (const event of events(response.body)) {
        last = event.id || last;
        if (!event.data || event.name === "end") continue;
        const told = JSON.parse(event.data);
        addEvent(told);
        if (REFRESHING.has(told.kind)) refreshSoon();
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Refusal && error.status === 404) {
        setText($("transcript-state"), "");
        return;
      }
    } finally {
      shown.abort();
    }
    if (mine.signal.aborted) return;
    if (document.hidden) continue;
    setText($("transcript-state"), "Reconnecting");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

// Says whether more may come now, once the stream is connected.
export function showLiveness() {
  const phase = page.cards.get(page.opened)?.card.run?.phase;
  setText($("transcript-state"), phase === "working" || phase === "stopping" ? "Live" : "Up to date");
}

function refreshSoon() {
  clearTimeout(refresh);
  refresh = setTimeout(() => document.dispatchEvent(new CustomEvent("task-changed")), 300);
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([transcriptText()], { type: "text/plain" }));
  link.download = `task-${page.opened}.txt`.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function startTranscript() {
  $("transcript-search").addEventListener("input", searchTranscript);
  $("transcript-download").addEventListener("click", download);
}
