// Times: how long ago, how long still, and clocks that go on by themselves.
import { make, setText } from "./elements.js";

let clockSkew = 0; // the server's clock minus ours, in milliseconds

// Sets the clock by an answer's Date header. It has whole seconds, so only a real difference counts.
export function setClock(date) {
  if (date && Math.abs(date + 500 - now()) > 2000) clockSkew = date + 500 - Date.now();
}

export const now = () => Date.now() + clockSkew;

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${Math.floor((whole % 3600) / 60)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest.padStart(5, "0")}` : rest;
}

export function span(seconds) {
  const n = Math.round(seconds);
  if (n < 90) return `${n} s`;
  if (n < 5400) return `${Math.round(n / 60)} min`;
  return n < 129600 ? `${Math.round(n / 3600)} h` : `${Math.round(n / 86400)} days`;
}

const ago = (at) => {
  const seconds = (now() - Date.parse(at)) / 1000;
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
};

export const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

// A time that goes on by itself: how long an agent works, when a retry is due.
export function ticking(kind, at) {
  const element = make("time", "clock");
  element.dateTime = at;
  element.title = moment.format(new Date(at));
  element.dataset.tick = kind;
  tick(element);
  return element;
}

function tick(element) {
  const seconds = (Date.parse(element.dateTime) - now()) / 1000;
  let text = clock(-seconds);
  if (element.dataset.tick === "due") text = seconds > 0.5 ? `in ${span(seconds)}` : "now";
  if (element.dataset.tick === "ago") text = ago(element.dateTime);
  setText(element, text);
}

export function startClocks() {
  setInterval(() => {
    if (!document.hidden) document.querySelectorAll("time[data-tick]").forEach(tick);
  }, 1000);
}
