const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const GUTTER = 250, ROW = 30, BAR = 12;
const STATUSES = ["succeeded", "retried", "failed", "cancelled", "released", "lost", "unfinished"];

// -- data ----------------------------------------------------------------------------------------------------------

const expanded = (runs) => {
  const all = [];
  for (let at = 0; at < runs.length; at += 2) for (let n = runs[at + 1]; n > 0; n--) all.push(runs[at]);
  return all;
};
// Executions of one task that overlap share the height of its bar.
const assignTracks = (runs) => {
  let group = [], ends = [];
  const close = () => {
    for (const run of group) run.tracks = ends.length;
    group = [];
    ends = [];
  };
  for (const run of [...runs].sort((a, b) => a.began - b.began)) {
    if (ends.every((end) => end <= run.began)) close();
    const track = ends.findIndex((end) => end <= run.began);
    run.track = track < 0 ? ends.length : track;
    ends[run.track] = run.ended;
    group.push(run);
  }
  close();
};
const tasks = data.tasks.map((task) => {
  const lengths = expanded(task.length), jitter = expanded(task.jitter), late = expanded(task.late);
  const worker = expanded(task.worker), status = expanded(task.status), attempt = expanded(task.attempt);
  let slot = 0, longest = 0;
  const runs = expanded(task.slots).map((step, at) => {
    slot += step;
    const due = slot + jitter[at], began = due + late[at];
    const ended = lengths[at] < 0 ? data.length : began + lengths[at];
    longest = Math.max(longest, ended - began);
    return { slot, due, began, ended, open: lengths[at] < 0, late: late[at], worker: data.processes[worker[at]],
      status: status[at], attempt: attempt[at], error: task.errors[at] };
  });
  assignTracks(runs);
  const bad = runs.filter((run) => run.status && run.status < 6).length;
  return { ...task, runs: [...runs].sort((a, b) => a.began - b.began), slots: runs.map((run) => run.slot),
    longest, bad, title: task.group + "/" + task.name };
});

// -- texts ---------------------------------------------------------------------------------------------------------

const counted = (number, what) => number + " " + what + (number === 1 ? "" : "s");
const two = (number) => String(number).padStart(2, "0");
const clock = (date, seconds) =>
  two(date.getUTCHours()) + ":" + two(date.getUTCMinutes()) + (seconds ? ":" + two(date.getUTCSeconds()) : "");
const dayOf = (date) => ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][date.getUTCDay()] + " " +
  date.getUTCDate() + " " +
  ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][date.getUTCMonth()];
const date = (ms) => new Date(data.start + ms);
const moment = (ms) => dayOf(date(ms)) + " " + clock(date(ms), true);
const length = (ms) => {
  if (ms < MINUTE) return ms ? +(ms / SECOND).toPrecision(3) + " s" : "0 s";
  ms = Math.round(ms / SECOND) * SECOND;
  const units = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [SECOND, "s"]];
  const at = units.findIndex(([unit]) => ms >= unit);
  const first = Math.floor(ms / units[at][0]), rest = ms % units[at][0];
  const next = units[at + 1], second = next ? Math.floor(rest / next[0]) : 0;
  return first + " " + units[at][1] + (second ? " " + second + " " + next[1] : "");
};

// -- state ---------------------------------------------------------------------------------------------------------

let from = 0, to = data.length, shown = tasks, focus = null, colours = {};
const element = (tag, text, parent, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  if (parent) parent.append(made);
  return made;
};
const rows = $("rows"), canvas = $("canvas"), overview = $("overview"), axis = $("axis"), tip = $("tip");
const spacer = element("div", undefined, rows);
canvas.style.position = "sticky";
canvas.style.top = "0";
const plot = () => Math.max(50, rows.clientWidth - GUTTER);
const x = (ms) => GUTTER + ((ms - from) / (to - from)) * plot();
const timeAt = (px) => from + ((px - GUTTER) / plot()) * (to - from);

const show = (begin, end) => {
  const span = Math.min(data.length, Math.max(2 * SECOND, end - begin));
  from = Math.min(Math.max(0, begin), data.length - span);
  to = from + span;
  history.replaceState(null, "", "#" + Math.round(from) + "-" + Math.round(to));
  draw();
};
const zoom = (factor, around = (from + to) / 2) =>
  show(around - (around - from) * factor, around + (to - around) * factor);
const move = (share) => show(from + (to - from) * share, to + (to - from) * share);
