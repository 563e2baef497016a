// The state of a job as colour, icon and word together: nobody has to tell colours apart.
import { el, say } from '../base/element';
import { icon, setIcon, type IconName } from '../base/icons';
import type { StageState, State } from '../base/shapes';
import { stateWord } from '../base/words';

const stateIcon: Record<State, IconName> = { received: 'clock', processing: 'spin', ready: 'check', failed: 'warn', cancelled: 'stop' };

export const stageIcon: Record<StageState, IconName> = { waiting: 'clock', running: 'spin', done: 'check', failed: 'warn', skipped: 'skip' };

export function badge(): { node: HTMLElement; show: (state: State) => void } {
  const sign = icon('clock');
  const word = el('span', {});
  const node = el('span.badge', {}, sign, word);
  return {
    node,
    show: (state) => {
      if (node.dataset['state'] === state) return;
      node.dataset['state'] = state;
      setIcon(sign, stateIcon[state]);
      say(word, stateWord[state]);
    },
  };
}
