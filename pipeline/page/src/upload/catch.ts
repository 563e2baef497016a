// Catches files anywhere on the page: dropped or pasted. A veil says so while something is dragged over it.
import { announce } from '../base/dialogs';
import { el } from '../base/element';
import { icon } from '../base/icons';
import { keepHandles } from './handles';
import { add } from './queue';

const holdsFiles = (transfer: DataTransfer | null): boolean => transfer?.types.includes('Files') ?? false;

export function catchFiles(arrived: () => void): void {
  const veil = el('div.veil', { hidden: true, 'aria-hidden': 'true' }, el('div', {}, icon('upload'), el('strong', {}, 'Drop to upload')));
  document.body.append(veil);
  let depth = 0;

  const take = (files: File[]): void => {
    if (files.length === 0) return;
    arrived();
    add(files);
    announce(`${files.length} ${files.length === 1 ? 'file' : 'files'} added to the uploads.`);
  };

  document.addEventListener('dragenter', (event) => {
    if (!holdsFiles(event.dataTransfer)) return;
    depth += 1;
    veil.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (!holdsFiles(event.dataTransfer)) return;
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  document.addEventListener('dragover', (event) => {
    if (!holdsFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy';
  });
  document.addEventListener('drop', (event) => {
    depth = 0;
    veil.hidden = true;
    if (!holdsFiles(event.dataTransfer) || !event.dataTransfer) return;
    event.preventDefault();
    void keepHandles(event.dataTransfer.items);
    take([...event.dataTransfer.files]);
  });
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  });
}
