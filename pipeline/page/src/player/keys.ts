// Digits lead to tenths of the video, as in other players; media-chrome knows the other keys itself.

export function digits(node: HTMLElement, video: HTMLVideoElement): () => void {
  const press = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || !/^[0-9]$/.test(event.key)) return;
    const end = Number.isFinite(video.duration) ? video.duration : video.seekable.length > 0 ? video.seekable.end(video.seekable.length - 1) : 0;
    if (end > 0) video.currentTime = (Number(event.key) / 10) * end;
  };
  node.addEventListener('keydown', press);
  return () => node.removeEventListener('keydown', press);
}
