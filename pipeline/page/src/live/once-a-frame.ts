// Collects many wishes for a repaint into one a frame; a hidden page gets a slow timer instead, as frames stop there.

export function onceAFrame(paint: () => void): { ask: () => void; stop: () => void } {
  let frame = 0;
  let timer = 0;
  const run = (): void => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = timer = 0;
    paint();
  };
  return {
    ask: () => {
      if (frame !== 0 || timer !== 0) return;
      if (document.hidden) timer = window.setTimeout(run, 1_000);
      else frame = requestAnimationFrame(run);
    },
    stop: () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      // Never zero again: a late wish after the end is not painted.
      frame = -1;
    },
  };
}
