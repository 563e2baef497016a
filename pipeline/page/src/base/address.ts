// Addresses: everything is relative to the document's base, so that the page works behind any path prefix.

const base = (): URL => new URL(document.baseURI);

/** The full address of something below the base. */
export const at = (path: string): string => new URL(path, base()).href;

export const jobApi = (id: string, rest = ''): string => at(`api/jobs/${encodeURIComponent(id)}${rest}`);

export type Place = { page: 'home' } | { page: 'job'; id: string } | { page: 'workers' } | { page: 'lost' };

/** Which page an address means, given the path of the base. */
export function placeOf(pathname: string, basePath: string): Place {
  const prefix = basePath.endsWith('/') ? basePath : `${basePath}/`;
  if (`${pathname}/` === prefix) return { page: 'home' };
  if (!pathname.startsWith(prefix)) return { page: 'lost' };
  const [first = '', second = '', ...more] = pathname.slice(prefix.length).replace(/\/$/, '').split('/');
  if (more.length > 0) return { page: 'lost' };
  if (first === '') return { page: 'home' };
  if (first === 'workers' && second === '') return { page: 'workers' };
  if (first === 'jobs' && second !== '') return { page: 'job', id: decoded(second) };
  return { page: 'lost' };
}

export const currentPlace = (): Place => placeOf(location.pathname, base().pathname);

/** A part of a path as it was before it was written into an address; one that is no valid writing stays as it is. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
