// What the page knows. Its other modules read it here and only the functions named below change it.

export const page = {
  board: null, // the last answer of GET /board; set by board.js
  opened: null, // the id of the task in the sheet; set by task.js
  wanted: null, // the id of a task that was made here, whose card is to have the focus
  taken: new Map(), // by task id, what its runs have taken: a row of GET /costs; set by bar.js
  columns: new Map(), // by queue name; columns.js
  cards: new Map(), // by task id; cards.js
};
