// The home page: upload area and list of jobs.
import type { Page } from '../app';
import { el } from '../base/element';
import { uploadArea } from '../upload/area';
import { jobList } from './list';

export function homePage(): Page {
  const area = uploadArea();
  const list = jobList();
  const node = el('div.wide.home', {}, el('h1.quiet', {}, 'Videos'), area.node, list.node);
  return {
    node,
    title: '',
    close: () => {
      area.close();
      list.close();
    },
  };
}
