// The shapes of the JSON that the server answers, as its OpenAPI description says them.

export type State = 'received' | 'processing' | 'ready' | 'failed' | 'cancelled';
export type StageState = 'waiting' | 'running' | 'done' | 'failed' | 'skipped';

export interface Stage { name: string; state: StageState; done: number; total: number }

export interface Rendition {
  quality: string; codec: string; width: number; height: number; bitrate_bps: number; bytes: number; frames: number;
  psnr_db?: number | null; ssim?: number | null; url: string;
}

export interface Source {
  bytes: number; sha256: string; container?: string | null; duration_s?: number | null;
  video?: { codec: string; width: number; height: number; fps: number; rotation: number } | null;
  audio?: { codec: string; channels: number; sample_rate: number } | null;
}

export interface Picture { url: string; width: number; height: number; bytes: number; time_s: number }

export interface Pictures {
  unavailable: string | null; poster: Picture | null; alternatives: Picture[];
  storyboard: { url: string; tiles: number } | null; shots: number;
  thumbnails?: (Picture & { start_s: number; end_s: number })[];
}

export interface Captions {
  language: string; cues: number; vtt: string | null; srt: string | null; model: string; version: string;
  written_at: string; reason: string | null;
}

export interface Label { name: string; confidence: number; origin: 'signals' | 'model'; because: string }

export interface Content {
  unavailable: string | null; kind: string | null; labels: Label[]; frames: number; maker: string; model: string;
  version: string; no_model: string | null;
}

export interface Job {
  id: string; name: string; state: State; progress: number; playable: boolean;
  received_at: string; playable_at: string | null; finished_at: string | null;
  source: Source | null; stages: Stage[]; renditions: Rendition[];
  hls: string | null; dash: string | null; poster: string | null; storyboard: string | null;
  pictures: Pictures | null; captions: Captions | null; content: Content | null;
  error: { code: string; stage: string; message: string } | null; warnings: string[];
}

export interface Status { id: string; state: State; progress: number; playable: boolean; stage: string | null; eta_s: number | null }

export interface JobPage { jobs: Job[]; next: string | null }

export interface Explanation {
  id: string; state: State; because: string; waiting_for: string[]; advice: string | null; history: { at: string | null; what: string }[];
}

export interface Ledger {
  balanced: boolean; findings: unknown[]; frames_in?: number; damaged?: number;
  renditions?: { quality: string; frames_out: number; keyframes: number; bytes: number; first_s: number; end_s: number }[];
  chunks?: { index: number; frames_in: number; frames_out: number[]; took_ms: number; worker: string }[];
  source_end_difference_s?: number; output_end_difference_s?: number;
}

export interface Summary { frames: number; mean: number; percentile_5: number; worst: number; worst_at_s: number; worst_frame: number }

export interface RenditionQuality {
  quality: string; verdict: string; assessed: boolean; trouble: string | null; frames: number; encoded_again: number;
  cap_won: number; metrics: Partial<Record<string, Summary>>; notes: string[]; csv: string; maker?: string;
}

export interface QualityReport { id: string; assessed: boolean; renditions: RenditionQuality[] }

export interface Span { stage: string; label: string; index: number; worker: string; began_at: string; ended_at: string | null }

export interface Timeline {
  id: string; received_at: string; spans: Span[]; stages: { name: string; began_at: string | null; ended_at: string | null }[];
}

export interface Worker {
  id: string; version: string; state: 'alive' | 'gone'; stages: { name: string; slots: number; busy: number }[];
  current: string[]; load: number; started_at: string; seen_at: string;
}

export interface Problem { status: number; title: string; detail: string; code: string }

export const isEnd = (state: State): boolean => state === 'ready' || state === 'failed' || state === 'cancelled';
