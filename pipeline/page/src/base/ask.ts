// Asks the server, and turns what goes wrong into words.
import type { Problem } from './shapes';

/** What went wrong with a request; `status` is 0 when there was no answer. */
export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, detail: string) {
    super(detail);
  }
}

/** Reads problem JSON (RFC 9457); anything else gets words of its own. */
export function refusalOf(status: number, body: string): Refusal {
  try {
    const problem = JSON.parse(body) as Partial<Problem> | null;
    const detail = problem?.detail || problem?.title;
    if (detail) return new Refusal(status, problem?.code ?? '', sentence(detail));
  } catch {
    // A proxy in between answers with something else.
  }
  return new Refusal(status, '', status === 0 ? 'The server cannot be reached.' : `The server answered ${status}.`);
}

/** Details come as part of a sentence: on a page they begin with a capital and end with a stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  const [first = '', ...rest] = [...trimmed];
  const begun = first.toUpperCase() + rest.join('');
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function answer(address: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw refusalOf(0, '');
  }
  if (!response.ok) throw refusalOf(response.status, await response.text().catch(() => ''));
  return response;
}

export async function getJson<T>(address: string, signal?: AbortSignal): Promise<T> {
  const response = await answer(address, { headers: { accept: 'application/json' }, ...(signal && { signal }) });
  return (await response.json()) as T;
}

export async function getText(address: string, signal?: AbortSignal): Promise<string> {
  return (await answer(address, { ...(signal && { signal }) })).text();
}

export async function send(method: 'POST' | 'DELETE', address: string): Promise<void> {
  const response = await answer(address, { method });
  await response.body?.cancel();
}
