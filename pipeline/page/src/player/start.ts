// The time at which a link wants a video to begin: `?t=83`, `?t=1m23s`, `?t=1:23`; pure.

export function startTime(query: string): number | null {
  const text = new URLSearchParams(query).get('t')?.trim() ?? '';
  if (/^\d+(\.\d+)?s?$/.test(text)) return Number(text.replace('s', ''));
  const units = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(text);
  if (text !== '' && units) return Number(units[1] ?? 0) * 3_600 + Number(units[2] ?? 0) * 60 + Number(units[3] ?? 0);
  const parts = /^(?:(\d+):)?(\d{1,3}):(\d{2}(?:\.\d+)?)$/.exec(text);
  return parts ? Number(parts[1] ?? 0) * 3_600 + Number(parts[2]) * 60 + Number(parts[3]) : null;
}

export const isSet = (query: string, name: string): boolean => {
  const value = new URLSearchParams(query).get(name);
  return value !== null && value !== '0' && value !== 'false';
};
