// When an upload that broke is tried again, and which pieces it is sent in; pure.

/**
 * 16 MiB a request: small enough for proxies that collect or limit request bodies and for a server that only keeps
 * whole requests (a broken one costs at most this much), large enough that the extra round trips do not show.
 */
export const PIECE_BYTES = 16 * 1024 * 1024;

export const AT_ONCE = 2;

/**
 * Waits inside the tus client: over a minute in all, with which a server's restart of 20 s is never seen by the reader.
 * Every piece that arrives starts the row anew. What lasts longer is taken up by the queue (below), without an end.
 */
export const RETRY_DELAYS_MS = [0, 1_000, 2_000, 3_000, 5_000, 8_000, 10_000, 15_000, 20_000];

/** How long the queue waits between its own tries after the client has given up, until the network says `online`. */
export const LONG_WAIT_MS = 30_000;

/** Whether an answer may become better by asking again. No answer at all is status 0. */
export function mayPass(status: number): boolean {
  if (status === 0 || status === 408 || status === 409 || status === 423 || status === 425 || status === 429) return true;
  // 507 is a full disk: it says so itself, and the reader can try again by hand.
  return status >= 500 && status !== 507;
}

/** The job's id: from the header if the server sends it, else the last part of the upload's own address. */
export function jobIdOf(header: string | null | undefined, uploadUrl: string | null): string | null {
  if (header) return header.trim();
  const last = uploadUrl?.split(/[?#]/)[0]?.replace(/\/+$/, '').split('/').pop();
  return last ? decodeURIComponent(last) : null;
}

export interface Leftover { key: string; name: string; size: number; begunAt: string; url: string }

/** What the tus client left in storage about uploads that were begun and not ended. */
export function leftoversIn(storage: Pick<Storage, 'length' | 'key' | 'getItem'>): Leftover[] {
  const found: Leftover[] = [];
  for (let i = 0; i < storage.length; i += 1) {
    const key = storage.key(i);
    if (!key?.startsWith('tus::')) continue;
    try {
      const entry = JSON.parse(storage.getItem(key) ?? '') as {
        size?: number; metadata?: { filename?: string }; creationTime?: string; uploadUrl?: string;
      };
      if (typeof entry.size !== 'number' || !entry.uploadUrl) continue;
      found.push({ key, name: entry.metadata?.filename ?? '', size: entry.size, begunAt: entry.creationTime ?? '', url: entry.uploadUrl });
    } catch {
      // Somebody else's entry.
    }
  }
  return found;
}
