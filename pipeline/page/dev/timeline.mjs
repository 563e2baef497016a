// Makes up a timeline from what the ledger says about the chunks: how long each took, laid onto two slots.

export function timelineOf(job, ledger) {
  const begin = Date.parse(job.received_at);
  const iso = (seconds) => new Date(begin + seconds * 1_000).toISOString();
  const worker = ledger?.chunks?.[0]?.worker ?? 'host-1';
  const spans = [];
  const work = (stage, label, index, from, to) => spans.push({ stage, label, index, worker, began_at: iso(from), ended_at: to === null ? null : iso(to) });
  work('probe', '', 0, 0.1, 0.5);
  work('split', '', 0, 0.5, 1.4);
  const slots = [1.4, 1.4];
  for (const chunk of ledger?.chunks ?? []) {
    const slot = slots[0] <= slots[1] ? 0 : 1;
    const from = slots[slot];
    slots[slot] = from + chunk.took_ms / 1_000;
    work('transcode', `chunk ${chunk.index}`, chunk.index, from, slots[slot]);
  }
  const end = Math.max(...slots);
  if (ledger) work('stitch', '', 0, 3, end + 0.6);
  else if (job.state === 'processing') work('transcode', 'chunk 1', 1, 1.4, null);
  if (job.pictures) work('illustrate', '', 0, 0.6, end * 0.7);
  if (job.content) work('classify', '', 0, 0.7, end * 0.5);
  if (job.stages.some((stage) => stage.name === 'assess' && stage.state === 'done')) work('assess', '', 0, end + 0.7, end + 6);
  const names = [...new Set(spans.map((span) => span.stage))];
  const stages = names.map((name) => {
    const own = spans.filter((span) => span.stage === name);
    const isOpen = own.some((span) => span.ended_at === null);
    return { name, began_at: own.map((span) => span.began_at).sort()[0], ended_at: isOpen ? null : own.map((span) => span.ended_at).sort().at(-1) };
  });
  return { id: job.id, received_at: job.received_at, spans, stages };
}
