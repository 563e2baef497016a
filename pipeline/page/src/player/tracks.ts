// Tracks beside the video: the storyboard for the scrub bar, and captions where the playlist itself has none.
import type Hls from 'hls.js';
import type { Job } from '../base/shapes';

export function tracks(video: HTMLVideoElement): { update: (job: Job, hls: () => Hls | null) => void; close: () => void } {
  let storyboard = '';
  let captions = '';
  let timer = 0;

  const append = (kind: 'metadata' | 'captions', label: string, src: string, language: string): void => {
    const track = document.createElement('track');
    track.kind = kind;
    track.label = label;
    track.src = src;
    if (language !== '') track.srclang = language;
    // A track that is not the default one is not loaded: media-chrome reads the storyboard's cues at once.
    track.default = kind === 'metadata';
    video.append(track);
    if (kind === 'metadata') track.track.mode = 'hidden';
  };

  return {
    update(job, hls) {
      if (job.storyboard !== null && job.storyboard !== storyboard) {
        storyboard = job.storyboard;
        video.querySelector('track[kind="metadata"]')?.remove();
        append('metadata', 'thumbnails', storyboard, '');
      }
      const { captions: written } = job;
      if (!written?.vtt || written.vtt === captions) return;
      captions = written.vtt;
      clearTimeout(timer);
      // The playlist's own captions come with it, a little later than the job.
      timer = window.setTimeout(() => {
        if ((hls()?.subtitleTracks.length ?? 0) > 0) return;
        video.querySelector('track[kind="captions"]')?.remove();
        append('captions', languageName(written.language), captions, written.language);
      }, 1_500);
    },
    close: () => clearTimeout(timer),
  };
}

function languageName(tag: string): string {
  try {
    return new Intl.DisplayNames(undefined, { type: 'language' }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}
