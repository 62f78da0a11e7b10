// Calls of the API, with the operators' key where the board is locked.
import { ask } from "./dialogs.js";

const KEY = "athanore.api-key";
const SENDABLE = /^[\x20-\x7e\xa0-\xff]+$/; // what a header can carry
const PATIENCE = 60_000;
const NO_ANSWER =
  "The server has not answered for a minute. It may have done this all the same: look before you repeat it.";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Options: `patience` in milliseconds, or a `signal` of one's own; `quiet`, for what the page asks by
// itself: who has not given a key is not asked for it again.
export async function request(method, path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  let key = sessionStorage.getItem(KEY);
  if (key && !SENDABLE.test(key)) {
    sessionStorage.removeItem(KEY); // with it nothing would be sent at all
    if (await askForKey(key, options.quiet)) return request(method, path, options);
    key = null;
  }
  if (key) headers.Authorization = `Bearer ${key}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal || AbortSignal.timeout(options.patience || PATIENCE),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "TimeoutError" && !options.signal) throw new Refusal(0, NO_ANSWER);
    throw error;
  }
  if (response.status === 401) {
    if (await askForKey(key, options.quiet)) return request(method, path, options);
  }
  if (!response.ok && response.status !== 304) {
    let detail = `The server answered ${response.status}.`;
    try {
      detail = (await response.json()).detail || detail;
    } catch {
      // not one of its own errors
    }
    throw new Refusal(response.status, detail);
  }
  return response;
}

export const taskPath = (id, rest = "") => `/tasks/${encodeURIComponent(id)}${rest}`;

let asking = null;
let declined = false;

function askForKey(refused, quiet) {
  const current = sessionStorage.getItem(KEY);
  if (current && current !== refused) return Promise.resolve(true);
  if (quiet && declined) return Promise.resolve(false);
  if (!asking) {
    asking = newKey(refused ? "This key was not accepted." : "").then((key) => {
      asking = null;
      declined = !key;
      if (key) sessionStorage.setItem(KEY, key);
      return Boolean(key);
    });
  }
  return asking;
}

async function newKey(error) {
  const key = await ask({
    title: "This board is locked",
    text: "The operators' key opens it: ATHANORE_API_KEY of the server. It is kept in this tab until you close it.",
    label: "Key",
    yes: "Open",
    secret: true,
    required: true,
    error,
  });
  if (!key || SENDABLE.test(key)) return key;
  return newKey("This key was not accepted: it has characters that no key has. Copy it from where it is set.");
}
