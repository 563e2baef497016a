"use strict";

// Everything is asked for relative to the page, so that it works behind any prefix.
const find = (id) => document.getElementById(id);
const jobs = new Map();
let older = null;
// A job that the address names is played as soon as it is ready.
let wanted = location.hash.slice(1);

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

async function problem(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `the server answered ${response.status}`;
  }
}

async function steer(id, method, path) {
  const response = await fetch(`api/jobs/${id}${path}`, { method });
  if (!response.ok) find("upload-said").textContent = await problem(response);
}

function play(job) {
  const video = find("video");
  find("player").hidden = false;
  find("player-title").textContent = job.name;
  const choices = find("qualities");
  choices.replaceChildren();
  const choose = (quality) => {
    const at = video.currentTime;
    const paused = video.paused && at > 0;
    video.src = `api/stream/${job.id}/${quality}`;
    video.currentTime = at;
    if (!paused) video.play().catch(() => {});
    for (const other of choices.children) other.setAttribute("aria-pressed", String(other.textContent === quality));
  };
  for (const rendition of job.renditions) choices.append(button(rendition.quality, () => choose(rendition.quality)));
  video.removeAttribute("src");
  if (job.renditions.length > 0) choose(job.renditions[0].quality);
  find("player").scrollIntoView({ behavior: "smooth" });
}

function words(job) {
  if (job.error) return `failed in ${job.error.stage}: ${job.error.message}`;
  if (job.state === "ready") {
    const names = (job.renditions || []).map((rendition) => rendition.quality).join(", ");
    return names ? `ready: ${names}` : "ready";
  }
  if (job.state !== "received" && job.state !== "processing") return job.state;
  const percent = Math.floor(job.progress * 100);
  const rest = job.eta_s ? `, about ${Math.ceil(job.eta_s)} s to go` : "";
  return `${job.stage || job.state}, ${percent} %${rest}`;
}

function show(job) {
  let known = jobs.get(job.id);
  if (!known) {
    known = { job: {}, item: document.createElement("li") };
    jobs.set(job.id, known);
    // Ids begin with the time of upload: newest first.
    const after = [...jobs.values()].find((other) => other !== known && other.job.id < job.id);
    find("jobs").insertBefore(known.item, after ? after.item : null);
    const order = [...jobs.entries()].sort((a, b) => (a[0] < b[0] ? 1 : -1));
    jobs.clear();
    for (const [id, entry] of order) jobs.set(id, entry);
  }
  const merged = Object.assign(known.job, job);
  const item = known.item;
  item.className = merged.state;
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = merged.name || merged.id;
  const what = document.createElement("span");
  what.className = "what";
  what.textContent = words(merged);
  const buttons = document.createElement("span");
  buttons.className = "steer";
  const running = merged.state === "received" || merged.state === "processing";
  if (merged.state === "ready") buttons.append(button("Play", () => play(merged)));
  if (running) buttons.append(button("Cancel", () => steer(merged.id, "POST", "/cancel")));
  buttons.append(button("Delete", () => steer(merged.id, "DELETE", "")));
  item.replaceChildren(name, buttons, what);
  if (running) {
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = merged.progress;
    bar.setAttribute("aria-label", "Progress");
    item.append(bar);
  }
  find("none").hidden = true;
  if (merged.id === wanted && merged.state === "ready" && merged.renditions) {
    wanted = "";
    play(merged);
  }
}

function drop(id) {
  const known = jobs.get(id);
  if (known) known.item.remove();
  jobs.delete(id);
  find("none").hidden = jobs.size > 0;
}

async function load(after) {
  const response = await fetch(`api/jobs?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);
  if (!response.ok) throw new Error(await problem(response));
  const page = await response.json();
  if (!after) for (const id of [...jobs.keys()]) drop(id);
  page.jobs.forEach(show);
  older = page.next;
  find("more").hidden = !older;
}

async function refresh(id) {
  const response = await fetch(`api/jobs/${id}`);
  if (response.ok) show(await response.json());
}

function listen() {
  const events = new EventSource("api/events");
  const heard = (event) => {
    const status = JSON.parse(event.data);
    const known = jobs.has(status.id);
    if (known) show(status);
    // A name, renditions and errors are not in the status.
    if (!known || event.type === "end") refresh(status.id);
  };
  events.addEventListener("progress", heard);
  events.addEventListener("end", heard);
  events.addEventListener("deleted", (event) => drop(JSON.parse(event.data).id));
  events.addEventListener("refresh", () => load());
  events.addEventListener("open", () => (find("live").textContent = "live"));
  events.addEventListener("error", () => (find("live").textContent = "reconnecting"));
}

find("upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const file = find("file").files[0];
  if (!file) return;
  const [said, sent] = [find("upload-said"), find("sent")];
  const request = new XMLHttpRequest();
  request.open("POST", `api/upload?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (step) => {
    if (step.lengthComputable) sent.value = step.loaded / step.total;
  });
  request.addEventListener("loadend", () => {
    sent.hidden = true;
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      answer = null;
    }
    if (request.status === 201 && answer) {
      said.textContent = `${answer.name} is uploaded.`;
      show(answer);
      find("upload").reset();
    } else {
      said.textContent = answer ? answer.detail : "the connection broke";
    }
  });
  said.textContent = "";
  sent.value = 0;
  sent.hidden = false;
  request.send(file);
});

find("more").addEventListener("click", () => load(older));
listen();
load().catch((error) => (find("upload-said").textContent = error.message));
