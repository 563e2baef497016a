// The page that is put into frames of other sites: the player and nothing else.
import { at, decoded, jobApi } from './base/address';
import { getJson, Refusal, wordsOf } from './base/ask';
import { isEnd, type Job } from './base/shapes';
import { shownName } from './base/words';
import { isSet } from './player/start';

const id = decoded(location.pathname.replace(/\/$/, '').split('/').pop() ?? '');
const main = document.createElement('main');
const words = document.createElement('p');
const heading = document.createElement('h1');
heading.className = 'quiet';
heading.textContent = 'Video';
words.setAttribute('role', 'status');
const screen = document.createElement('div');
screen.append(words);
main.append(heading, screen);
document.body.replaceChildren(main);

let player: { update: (job: Job) => void } | undefined;
let source: EventSource | undefined;
let isMounting = false;

async function load(): Promise<void> {
  try {
    const job = await getJson<Job>(jobApi(id));
    document.title = shownName(job.name);
    heading.textContent = shownName(job.name);
    await show(job);
    if (isEnd(job.state)) source?.close();
    else follow();
  } catch (error) {
    if (player) return;
    words.textContent = error instanceof Refusal && error.status < 500 && error.status > 0 ? 'This video is not there.' : wordsOf(error);
    if (!(error instanceof Refusal) || error.status === 0 || error.status >= 500) setTimeout(() => void load(), 5_000);
  }
}

async function show(job: Job): Promise<void> {
  if (player) return player.update(job);
  if (!job.playable) {
    words.textContent = isEnd(job.state) ? 'This video could not be made.' : 'This video is still being made. It begins to show here by itself.';
    return;
  }
  if (isMounting) return;
  isMounting = true;
  const { mount } = await import('./player/mount');
  const options = { job, label: shownName(job.name), autoplay: isSet(location.search, 'autoplay'), muted: isSet(location.search, 'muted'), fills: true };
  player = mount(screen, options);
}

/** Only a video that is still being made needs news: of itself alone, and only until its end. */
function follow(): void {
  if (source) return;
  source = new EventSource(at(`api/jobs/${encodeURIComponent(id)}/events`));
  let isPlayable = false;
  source.addEventListener('progress', (event: MessageEvent<string>) => {
    const status = JSON.parse(event.data) as { playable: boolean };
    if (status.playable && !isPlayable) {
      isPlayable = true;
      void load();
    }
  });
  source.addEventListener('end', () => {
    source?.close();
    void load();
  });
}

void load();
