// What the bar says of the link to the app and of what the app itself can reach.

// The state of the link after an answer of GET /board, as its dot and its words.
export function linkOf({ starting, board_error: board, prefect_error: prefect }) {
  if (starting) return ["connecting", "Starting"];
  if (board && prefect) return ["lost", "Board and Prefect are away"];
  if (board) return ["lost", "The board is away"];
  if (prefect) return ["lost", "Prefect is away"];
  return ["live", "Live"];
}
