// What a worker says that it does names a job by its id: found, so that the page can link to it; pure.

export interface Task { before: string; job: string; after: string }

/** Ids of jobs are ULIDs: 26 digits and capitals of Crockford's alphabet. */
export function readTask(text: string): Task | null {
  const found = /\b[0-9A-HJKMNP-TV-Z]{26}\b/.exec(text);
  if (!found) return null;
  return { before: text.slice(0, found.index).trimEnd(), job: found[0], after: text.slice(found.index + 26) };
}
