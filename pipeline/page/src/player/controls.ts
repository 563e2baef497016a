// The controls, made of media-chrome's elements, and the sheet that says trouble in words.

export interface Controls { node: HTMLElement; poster: (address: string | null) => void; trouble: (words: string) => void }

type Attributes = Record<string, string>;

function part(tag: string, attributes: Attributes = {}, ...children: (Node | string)[]): HTMLElement {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const item = (label: string, submenu: HTMLElement): HTMLElement => part('media-settings-menu-item', { class: `player-${label.toLowerCase()}` }, label, submenu);

function settings(): HTMLElement {
  const back = (text: string): HTMLElement => part('span', { slot: 'title' }, text);
  return part('media-settings-menu', { hidden: '', anchor: 'auto' },
    item('Quality', part('media-rendition-menu', { slot: 'submenu', hidden: '' }, back('Quality'))),
    item('Speed', part('media-playback-rate-menu', { slot: 'submenu', hidden: '', rates: '0.5 0.75 1 1.25 1.5 1.75 2' }, back('Speed'))),
    item('Captions', part('media-captions-menu', { slot: 'submenu', hidden: '' }, back('Captions'))));
}

export function controls(video: HTMLVideoElement, label: string, options: { fills: boolean; retry: () => void }): Controls {
  const poster = part('media-poster-image', { slot: 'poster' });
  const words = part('p', {});
  const again = part('button', { type: 'button' }, 'Try again');
  again.addEventListener('click', options.retry);
  const sheet = part('div', { class: 'player-trouble', role: 'alert' }, words, again);
  sheet.hidden = true;
  const controller = part('media-controller', { 'aria-label': label, hotkeys: '', keyboardforwardseekoffset: '5', keyboardbackwardseekoffset: '5', autohide: '2' },
    video, poster,
    part('media-loading-indicator', { slot: 'centered-chrome', noautohide: '' }),
    settings(),
    part('div', { class: 'player-shade', 'aria-hidden': 'true' }),
    part('media-control-bar', { class: 'player-scrub' }, part('media-time-range')),
    part('media-control-bar', { class: 'player-bar' },
      part('media-play-button'), part('media-mute-button'), part('media-volume-range', { class: 'player-wide' }),
      part('media-time-display', { showduration: '', notoggle: '' }), part('span', { class: 'player-gap' }),
      part('media-captions-button', { role: 'switch' }), part('media-settings-menu-button'), part('media-pip-button', { class: 'player-wide' }), part('media-fullscreen-button')));
  const node = part('div', { class: options.fills ? 'player-frame fills' : 'player-frame' }, controller, sheet);
  return {
    node,
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
