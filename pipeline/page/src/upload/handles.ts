// Remembers where dropped and chosen files lie, in browsers that can: an upload that a reload broke off then goes on
// after one click, without choosing the file again. Only handles are kept, in IndexedDB; never a file's bytes.

interface Permitted {
  queryPermission?(options: { mode: 'read' }): Promise<PermissionState>;
  requestPermission?(options: { mode: 'read' }): Promise<PermissionState>;
}

type Handle = FileSystemFileHandle & Permitted;

interface Picker { showOpenFilePicker?(options: { multiple: boolean }): Promise<FileSystemFileHandle[]> }

const MOST = 50;

export const canPick = (): boolean => typeof (window as Picker).showOpenFilePicker === 'function';

const keyOf = (name: string, size: number): string => `${size}/${name}`;

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('streamforge', 1);
    request.onupgradeneeded = () => void request.result.createObjectStore('files');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('no storage'));
  });
}

async function withStore<T>(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const opened = await database();
  try {
    return await new Promise<T>((resolve, reject) => {
      const request = use(opened.transaction('files', mode).objectStore('files'));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error('no storage'));
    });
  } finally {
    opened.close();
  }
}

async function keep(handle: FileSystemFileHandle): Promise<void> {
  const file = await handle.getFile();
  if ((await withStore('readonly', (store) => store.count())) >= MOST) await withStore('readwrite', (store) => store.clear());
  await withStore('readwrite', (store) => store.put(handle, keyOf(file.name, file.size)));
}

/** Keeps what was dropped. The handles must be asked for at once: a drop's items are gone after it. */
export async function keepHandles(items: DataTransferItemList): Promise<void> {
  const asked = [...items].map((item) => {
    const able = item as DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };
    return able.getAsFileSystemHandle?.();
  });
  for (const handle of await Promise.all(asked).catch(() => [])) {
    if (handle?.kind === 'file') await keep(handle as FileSystemFileHandle).catch(() => undefined);
  }
}

/** Lets the reader choose; null when the browser has no picker that gives handles, empty when nothing was chosen. */
export async function pick(): Promise<File[] | null> {
  const picker = (window as Picker).showOpenFilePicker;
  if (!picker) return null;
  try {
    const chosen = await picker.call(window, { multiple: true });
    const files = await Promise.all(chosen.map((handle) => handle.getFile()));
    void Promise.all(chosen.map(keep)).catch(() => undefined);
    return files;
  } catch (error) {
    return error instanceof DOMException && error.name === 'AbortError' ? [] : null;
  }
}

/** The file of an upload that was left, if the browser remembers it and the reader permits. Call it in a click. */
export async function recall(name: string, size: number): Promise<File | null> {
  try {
    const handle = (await withStore('readonly', (store) => store.get(keyOf(name, size)))) as Handle | undefined;
    if (!handle) return null;
    if (handle.requestPermission && (await handle.requestPermission({ mode: 'read' })) !== 'granted') return null;
    const file = await handle.getFile();
    return file.size === size ? file : null;
  } catch {
    return null;
  }
}

export async function remembers(name: string, size: number): Promise<boolean> {
  try {
    return (await withStore('readonly', (store) => store.count(keyOf(name, size)))) > 0;
  } catch {
    return false;
  }
}

export const forget = (name: string, size: number): Promise<unknown> =>
  withStore('readwrite', (store) => store.delete(keyOf(name, size))).catch(() => undefined);
