// Cancel and delete, each after a question in plain words.
import { jobApi } from '../base/address';
import { Refusal, send, wordsOf } from '../base/ask';
import { announce, ask } from '../base/dialogs';
import { el, nameOf } from '../base/element';
import type { Job } from '../base/shapes';
import { shownName } from '../base/words';
import { isRunning, jobs } from '../live/jobs';

const about = (job: Job): HTMLElement => el('p.asked', {}, nameOf(shownName(job.name), job.name));

/** Says whether the job is gone. */
export async function deleteJob(job: Job): Promise<boolean> {
  const renditions = job.renditions.map((rendition) => rendition.quality).join(', ');
  const yes = await ask({
    heading: 'Delete this video?',
    about: about(job),
    words: [
      `The uploaded video goes, and everything that was made of it: ${renditions === '' ? 'its renditions' : `its renditions (${renditions})`}, pictures, captions and reports. Links and embedded players stop working.`,
      `${isRunning(job) ? 'The work on it stops. ' : ''}This cannot be undone.`,
    ],
    yes: 'Delete',
    no: 'Keep it',
  });
  if (!yes) return false;
  try {
    await send('DELETE', jobApi(job.id));
  } catch (error) {
    if (!(error instanceof Refusal && error.status === 404)) {
      sorry(`It was not deleted. ${wordsOf(error)}`);
      return false;
    }
  }
  jobs.remove(job.id);
  announce('The video is deleted.');
  return true;
}

export async function cancelJob(job: Job): Promise<void> {
  const yes = await ask({
    heading: 'Stop the work on this video?',
    about: about(job),
    words: ['The uploaded video and what was made of it so far are removed; its entry stays in the list. This cannot be undone: the video would have to be uploaded again.'],
    yes: 'Stop the work',
    no: 'Let it go on',
  });
  if (!yes) return;
  try {
    await send('POST', jobApi(job.id, '/cancel'));
    announce('The work is being stopped.');
  } catch (error) {
    sorry(`It was not stopped. ${wordsOf(error)}`);
  }
}

/** Trouble that must be seen, not only heard. */
function sorry(words: string): void {
  const node = el('div.toast', { role: 'alert' }, words);
  document.body.append(node);
  setTimeout(() => node.remove(), 8_000);
}
