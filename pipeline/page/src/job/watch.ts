// The place of the player on a job's page: empty until there is something to play, then the player's chunk is loaded.
import type { Player } from '../player/mount';
import { el, say } from '../base/element';
import { icon } from '../base/icons';
import { shownName } from '../base/words';
import { isRunning } from '../live/jobs';
import type { Part } from './page';

export function playerPart(): Part & { seek: (seconds: number) => void; time: () => number | null } {
  const words = el('p', {});
  const wait = el('div.no-player', {}, icon('film'), words);
  const frame = el('div.screen', {}, wait);
  const node = el('section.player', { 'aria-label': 'Player' }, frame);
  let player: Player | undefined;
  let isLoading = false;
  let isClosed = false;

  return {
    node,
    update: (job) => {
      if (player) return player.update(job);
      const { video } = job.source ?? {};
      if (video && video.width > 0) {
        const turned = Math.abs(video.rotation) % 180 === 90;
        frame.style.aspectRatio = turned ? `${video.height} / ${video.width}` : `${video.width} / ${video.height}`;
      }
      node.hidden = !job.playable && !isRunning(job);
      if (!job.playable) {
        say(words, 'The video can be watched here as soon as its beginning is made.');
        return;
      }
      if (isLoading) return;
      isLoading = true;
      say(words, 'Loading the player…');
      import('../player/mount').then(
        ({ mount }) => {
          if (isClosed) return;
          player = mount(frame, { job, label: shownName(job.name) });
        },
        () => {
          // A deployment may have replaced the chunk; the next change of the job tries again.
          isLoading = false;
          say(words, 'The player could not be loaded. Reload the page to try again.');
        },
      );
    },
    seek: (seconds) => {
      player?.seek(seconds);
      node.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    },
    time: () => player?.time() ?? null,
    close: () => {
      isClosed = true;
      player?.close();
    },
  };
}
