// Calls of the API, with the operators' key where the board is locked.
import { ask } from "./dialogs.js";

const KEY = "athanore.api-key";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function request(method, path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers,
    body: options.body === undefined ? undefined : JSON.stringify(options.body),
    signal: options.signal,
    cache: "no-store",
  });
  if (response.status === 401) {
    if (await askForKey(key)) return request(method, path, options);
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

function askForKey(refused) {
  const current = sessionStorage.getItem(KEY);
  if (current && current !== refused) return Promise.resolve(true);
  if (!asking) {
    asking = ask({
      title: "This board is locked",
      text: "The operators' key opens it: ATHANORE_API_KEY of the server. It is kept in this tab until you close it.",
      label: "Key",
      yes: "Open",
      secret: true,
      required: true,
      error: refused ? "This key was not accepted." : "",
    }).then((key) => {
      asking = null;
      if (key) sessionStorage.setItem(KEY, key);
      return Boolean(key);
    });
  }
  return asking;
}
