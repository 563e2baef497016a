// The controls, made of media-chrome's elements, and the sheet that says trouble in words.

import { type Group, settingsMenu } from './menu';
import { type Qualities, qualityName } from './qualities';

export interface Controls { node: HTMLElement; poster: (address: string | null) => void; trouble: (words: string) => void; close: () => void }

type Attributes = Record<string, string>;

function part(tag: string, attributes: Attributes = {}, ...children: (Node | string)[]): HTMLElement {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

function groups(video: HTMLVideoElement, qualities: Qualities): Group[] {
  const { all, chosen } = qualities;
  const playing = all[qualities.playing()];
  const captions = [...video.textTracks].filter((track) => track.kind === 'captions' || track.kind === 'subtitles');
  const show = (wanted: TextTrack | null): void => captions.forEach((track) => (track.mode = track === wanted ? 'showing' : 'disabled'));
  return [
    {
      name: 'Quality',
      choices: all.length === 0 ? [] : [
        { label: chosen < 0 && playing ? `Auto (${qualityName(playing)})` : 'Auto', isChosen: chosen < 0, choose: () => qualities.choose(-1) },
        ...all.map((quality, index) => ({ label: qualityName(quality), isChosen: chosen === index, choose: () => qualities.choose(index) })).reverse(),
      ],
    },
    { name: 'Speed', choices: SPEEDS.map((speed) => ({ label: `${speed.toLocaleString()} ×`, isChosen: video.playbackRate === speed, choose: () => (video.playbackRate = speed) })) },
    {
      name: 'Captions',
      choices: captions.length === 0 ? [] : [
        { label: 'Off', isChosen: !captions.some((track) => track.mode === 'showing'), choose: () => show(null) },
        ...captions.map((track) => ({ label: track.label || track.language || 'On', isChosen: track.mode === 'showing', choose: () => show(track) })),
      ],
    },
  ];
}

export function controls(video: HTMLVideoElement, label: string, qualities: Qualities, options: { fills: boolean; retry: () => void }): Controls {
  const poster = part('media-poster-image', { slot: 'poster' });
  const words = part('p', {});
  const again = part('button', { type: 'button' }, 'Try again');
  again.addEventListener('click', options.retry);
  const sheet = part('div', { class: 'player-trouble', role: 'alert' }, words, again);
  sheet.hidden = true;
  // While the menu is open the controls stay.
  const menu = settingsMenu(() => groups(video, qualities), (isOpen) => controller.setAttribute('autohide', isOpen ? '-1' : '2'));
  qualities.changed = menu.refresh;
  const controller: HTMLElement = part('media-controller', { 'aria-label': label, hotkeys: '', keyboardforwardseekoffset: '5', keyboardbackwardseekoffset: '5', autohide: '2' },
    video, poster,
    part('media-loading-indicator', { slot: 'centered-chrome', noautohide: '' }),
    part('div', { class: 'player-shade', 'aria-hidden': 'true' }),
    part('media-control-bar', { class: 'player-scrub' }, part('media-time-range')),
    part('media-control-bar', { class: 'player-bar' },
      part('media-play-button'), part('media-mute-button', { class: 'player-wide' }), part('media-volume-range', { class: 'player-wide' }),
      part('media-time-display', { showduration: '', notoggle: '' }), part('span', { class: 'player-gap' }),
      part('media-captions-button', { role: 'switch' }), menu.node,
       part('media-pip-button', { class: 'player-wide' }), part('media-fullscreen-button')));
  const node = part('div', { class: options.fills ? 'player-frame fills' : 'player-frame' }, controller, sheet);
  return {
    node,
    close: menu.close,
    poster: (address) => {
      if (address === null) poster.removeAttribute('src');
      else if (poster.getAttribute('src') !== address) poster.setAttribute('src', address);
    },
    trouble: (text) => {
      sheet.hidden = text === '';
      words.textContent = text;
    },
  };
}
