// The settings of the player: one menu with the groups quality, speed and captions. Made here, as media-chrome's own
// menus hold a button for the way back, which menus may not hold: screen readers stumble over it.

export interface Choice { label: string; isChosen: boolean; choose: () => void }
export interface Group { name: string; choices: Choice[] }

export function settingsMenu(groups: () => Group[], opened: (isOpen: boolean) => void): { node: HTMLElement; refresh: () => void; close: () => void } {
  const node = document.createElement('div');
  node.className = 'player-settings';
  const button = document.createElement('button');
  button.type = 'button';
  button.setAttribute('aria-label', 'Settings: quality, speed, captions');
  button.setAttribute('aria-haspopup', 'menu');
  button.setAttribute('aria-expanded', 'false');
  const sign = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  sign.setAttribute('viewBox', '0 0 24 24');
  sign.setAttribute('aria-hidden', 'true');
  const strokes = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  strokes.setAttribute('d', 'M4 7h9m6 0h1M4 17h3m6 0h7M16 4.5v5M10 14.5v5');
  sign.append(strokes);
  const sheet = document.createElement('div');
  sheet.setAttribute('role', 'menu');
  sheet.setAttribute('aria-label', 'Settings');
  sheet.hidden = true;
  button.append(sign);
  node.append(sheet, button);

  const items = (): HTMLButtonElement[] => [...sheet.querySelectorAll('button')];

  function fill(): void {
    const focused = items().indexOf(document.activeElement as HTMLButtonElement);
    sheet.replaceChildren(...groups().filter((group) => group.choices.length > 0).map((group) => {
      const box = document.createElement('div');
      box.setAttribute('role', 'group');
      box.setAttribute('aria-label', group.name);
      const heading = document.createElement('span');
      heading.setAttribute('aria-hidden', 'true');
      heading.textContent = group.name;
      box.append(heading, ...group.choices.map((choice) => {
        const item = document.createElement('button');
        item.type = 'button';
        item.tabIndex = -1;
        item.setAttribute('role', 'menuitemradio');
        item.setAttribute('aria-checked', String(choice.isChosen));
        item.textContent = choice.label;
        item.addEventListener('click', () => {
          choice.choose();
          fill();
        });
        return item;
      }));
      return box;
    }));
    if (focused >= 0) items()[focused]?.focus();
  }

  function open(isOpen: boolean): void {
    if (sheet.hidden !== isOpen) return;
    if (isOpen) fill();
    sheet.hidden = !isOpen;
    button.setAttribute('aria-expanded', String(isOpen));
    opened(isOpen);
    if (isOpen) (items().find((item) => item.getAttribute('aria-checked') === 'true') ?? items()[0])?.focus();
  }

  button.addEventListener('click', () => open(button.getAttribute('aria-expanded') === 'false'));
  sheet.addEventListener('keydown', (event) => {
    const all = items();
    const now = all.indexOf(document.activeElement as HTMLButtonElement);
    const moves: Record<string, number> = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 };
    const wanted = moves[event.key];
    if (event.key === 'Escape') {
      open(false);
      button.focus();
    } else if (event.key === 'Tab') {
      open(false);
      return;
    } else if (wanted !== undefined) all.at(wanted % all.length)?.focus();
    else if (event.key !== 'Enter' && event.key !== ' ') return;
    // The player's own keys would act too: arrows seek, the space bar pauses.
    event.stopPropagation();
    if (event.key !== 'Enter' && event.key !== ' ') event.preventDefault();
  });
  button.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') event.stopPropagation();
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
    open(true);
    event.stopPropagation();
    event.preventDefault();
  });
  const outside = (event: Event): void => {
    if (!node.contains(event.target as Node)) open(false);
  };
  document.addEventListener('pointerdown', outside);
  return {
    node,
    refresh: () => void (sheet.hidden || fill()),
    close: () => document.removeEventListener('pointerdown', outside),
  };
}
