// Whether somebody sees the page. A browser has six connections for all tabs of one server, so a tab
// that is hidden keeps none.

// Resolves once the page is shown.
export async function untilShown() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

// A controller that aborts when the page is hidden, or when a signal does. Whoever has it aborts it
// in the end, so that nothing is listened for any more.
export function whileShown(signal) {
  const own = new AbortController();
  const until = { signal: own.signal };
  document.addEventListener("visibilitychange", () => document.hidden && own.abort(), until);
  signal.addEventListener("abort", () => own.abort(), until);
  if (document.hidden || signal.aborted) own.abort();
  return own;
}
