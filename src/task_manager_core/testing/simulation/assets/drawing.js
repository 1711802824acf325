// -- drawing -------------------------------------------------------------------------------------------------------

const context = (target, height) => {
  const ratio = window.devicePixelRatio || 1, width = target.clientWidth;
  target.width = Math.round(width * ratio);
  target.height = Math.round(height * ratio);
  target.style.height = height + "px";
  const pen = target.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
};
const fill = (pen, colour, left, top, width, height) => {
  pen.fillStyle = colour;
  pen.fillRect(left, top, width, height);
};
const STEPS = [SECOND, 5 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR,
  3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY];
const ticks = () => {
  const step = STEPS.find((one) => (one / (to - from)) * plot() >= 62) || 28 * DAY;
  const offset = data.start % DAY, found = [];
  for (let at = Math.ceil((from + offset) / step) * step - offset; at <= to; at += step) found.push(at);
  return { step, found };
};

const draw = () => {
  drawAxis();
  drawOverview();
  drawRows();
  $("range").textContent = moment(from) + " – " + moment(to) + " UTC · " + length(to - from);
  for (const button of $("spans").children) {
    button.classList.toggle("on", Math.abs(button.span - (to - from)) < SECOND);
  }
};

const drawAxis = () => {
  const pen = context(axis, 40), { step, found } = ticks();
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colours.soft;
  pen.fillText("UTC", 12, 15);
  pen.fillText("leader", 12, 34);
  let free = 0;
  for (const at of found) {
    const here = date(at), midnight = !(here.getTime() % DAY), left = x(at);
    if (left < GUTTER - 1) continue;
    const text = step >= DAY || midnight ? dayOf(here) : clock(here, step < MINUTE);
    pen.fillStyle = midnight ? colours.text : colours.soft;
    if (left > free && left + pen.measureText(text).width < axis.clientWidth) {
      pen.fillText(text, left + 3, 15);
      free = left + pen.measureText(text).width + 10;
    }
    fill(pen, colours.line, left, 4, 1, 18);
  }
  data.leaders.forEach(([at, who], index) => {
    const next = index + 1 < data.leaders.length ? data.leaders[index + 1][0] : data.length;
    const left = Math.max(GUTTER, x(at)), right = Math.min(axis.clientWidth, x(next));
    if (right <= GUTTER || left >= axis.clientWidth) return;
    pen.globalAlpha = index % 2 ? 0.3 : 0.16;
    fill(pen, colours.accent, left, 25, Math.max(1, right - left), 13);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.text;
    if (right - left > pen.measureText(who).width + 8) pen.fillText(who, left + 4, 35);
  });
};

// The most and the mean number of executions at a time, for each pixel of the whole period.
const load = () => {
  const width = Math.max(1, Math.floor(overview.clientWidth - GUTTER)), pixel = data.length / width;
  const peaks = new Float64Array(width), means = new Float64Array(width), events = [];
  for (const task of tasks) for (const run of task.runs) events.push([run.began, 1], [run.ended, -1]);
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let level = 0, before = 0;
  for (const [at, change] of events) {
    for (let px = Math.floor(before / pixel); px < width && px * pixel <= at; px++) {
      peaks[px] = Math.max(peaks[px], level);
      means[px] += (level * Math.max(0, Math.min(at, (px + 1) * pixel) - Math.max(before, px * pixel))) / pixel;
    }
    level += change;
    before = at;
    const here = Math.min(width - 1, Math.floor(at / pixel));
    peaks[here] = Math.max(peaks[here], level);
  }
  return { width, peaks, means };
};
let cachedLoad = null;
const drawOverview = () => {
  const pen = context(overview, 64), width = Math.max(1, Math.floor(overview.clientWidth - GUTTER));
  if (!cachedLoad || cachedLoad.width !== width) cachedLoad = load();
  const top = Math.max(data.capacity, ...cachedLoad.peaks), height = (level) => (level / top) * 48;
  cachedLoad.peaks.forEach((level, px) => fill(pen, colours.peak, GUTTER + px, 60 - height(level), 1, height(level)));
  cachedLoad.means.forEach((level, px) => fill(pen, colours.load, GUTTER + px, 60 - height(level), 1, height(level)));
  fill(pen, colours.limit, GUTTER, 60 - height(data.capacity), width, 1);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colours.text;
  pen.fillText("executing: mean, peak", 12, 26);
  pen.fillStyle = colours.limit;
  pen.fillText("capacity: " + data.workers + " × " + data.concurrency + " = " + data.capacity, 12, 44);
  for (const [at] of data.faults) {
    const px = GUTTER + (at / data.length) * width;
    pen.fillStyle = colours.fault;
    pen.beginPath();
    pen.moveTo(px - 4, 0);
    pen.lineTo(px + 4, 0);
    pen.lineTo(px, 7);
    pen.fill();
  }
  const left = GUTTER + (from / data.length) * width, right = GUTTER + (to / data.length) * width;
  fill(pen, colours.brush, left, 0, Math.max(2, right - left), 64);
  fill(pen, colours.accent, left, 0, 1, 64);
  fill(pen, colours.accent, Math.max(left + 1, right - 1), 0, 1, 64);
};

const shortened = (pen, text, room) => {
  if (pen.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > room) end--;
  return text.slice(0, end) + "…";
};
const firstFrom = (list, value, of) => {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < value) low = middle + 1;
    else high = middle;
  }
  return low;
};

const drawRows = () => {
  const height = Math.min(rows.clientHeight || 9e9, Math.max(1, shown.length * ROW));
  const pen = context(canvas, height), width = rows.clientWidth, scroll = rows.scrollTop;
  spacer.style.height = Math.max(0, shown.length * ROW - height) + "px";
  const { step, found } = ticks();
  for (let at = Math.floor((from + (data.start % DAY)) / DAY) * DAY - (data.start % DAY); at < to; at += DAY) {
    const weekday = date(at).getUTCDay();
    const left = Math.max(GUTTER, x(at)), right = Math.min(width, x(at + DAY));
    if ((weekday === 0 || weekday === 6) && right > left) fill(pen, colours.faint, left, 0, right - left, height);
  }
  for (const at of found) {
    if (x(at) >= GUTTER) fill(pen, step < DAY && !(date(at).getTime() % DAY) ? colours.plan : colours.line, x(at), 0, 1, height);
  }
  if (focus) {
    const left = Math.max(GUTTER, x(focus[0])), right = Math.min(width, x(focus[1]));
    if (right >= GUTTER && left <= width) fill(pen, colours.brush, left - 2, 0, Math.max(4, right - left + 4), height);
  }
  const begin = Math.floor(scroll / ROW), end = Math.min(shown.length, Math.ceil((scroll + height) / ROW));
  for (let row = begin; row < end; row++) drawRow(pen, shown[row], row * ROW - scroll, width);
  drawFaults(pen, width, height);
};

const drawRow = (pen, task, top, width) => {
  const perPixel = (to - from) / plot(), bar = top + 13;
  fill(pen, colours.line, 0, top + ROW - 1, width, 1);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, top, width - GUTTER, ROW);
  pen.clip();
  let drawn = -1;
  for (let at = firstFrom(task.slots, from - perPixel, (slot) => slot); at < task.slots.length; at++) {
    const px = Math.round(x(task.slots[at]));
    if (task.slots[at] > to) break;
    if (px !== drawn) fill(pen, colours.plan, (drawn = px), top + 4, 1, 6);
  }
  const busy = new Float64Array(Math.ceil(width - GUTTER) + 2), rest = [];
  for (let at = firstFrom(task.runs, from - task.longest, (run) => run.began); at < task.runs.length; at++) {
    const run = task.runs[at];
    if (run.began > to) break;
    if (run.ended < from) continue;
    const left = x(run.began), right = x(run.ended);
    if (run.late > 3 * perPixel && run.attempt === 1) fill(pen, colours.plan, x(run.due), top + 10, left - x(run.due) + 1, 1);
    if (run.status) rest.push(run);
    else if (right - left >= 2.5) {
      const high = BAR / run.tracks;
      fill(pen, colours.succeeded, left, bar + run.track * high, right - left - 0.5, high - (run.tracks > 1 ? 1 : 0));
    }
    else {
      const px = Math.max(0, Math.floor(left - GUTTER));
      busy[px] = Math.min(1, busy[px] + (right - left) + 0.12);
    }
  }
  busy.forEach((share, px) => {
    if (!share) return;
    pen.globalAlpha = 0.45 + 0.55 * share;
    fill(pen, colours.succeeded, GUTTER + px, bar, share < 0.5 && perPixel < MINUTE ? 1.5 : 1, BAR);
  });
  pen.globalAlpha = 1;
  for (const run of rest) {
    const left = x(run.began), size = Math.max(3, x(run.ended) - left);
    const high = BAR / run.tracks;
    fill(pen, colours[STATUSES[run.status]], left, bar + run.track * high, size, high - (run.tracks > 1 ? 1 : 0));
  }
  let skipped = -9;
  for (const [slot] of task.skips) {
    const px = x(slot);
    if (slot < from || slot > to || px - skipped < 2) continue;
    diamond(pen, (skipped = px), top + 7, colours.skipped);
  }
  for (const slot of task.unstarted) {
    if (slot < from || slot > to) continue;
    pen.strokeStyle = colours.unfinished;
    pen.strokeRect(x(slot) - 2.5, top + 4.5, 5, 5);
  }
  pen.restore();
  label(pen, task, top);
};
const diamond = (pen, px, y, colour) => {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.moveTo(px, y - 4);
  pen.lineTo(px + 4, y);
  pen.lineTo(px, y + 4);
  pen.lineTo(px - 4, y);
  pen.fill();
};
const label = (pen, task, top) => {
  pen.font = "600 12.5px system-ui, sans-serif";
  pen.fillStyle = colours.text;
  const name = shortened(pen, task.name, GUTTER - 100);
  pen.fillText(name, 12, top + 13);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colours.soft;
  pen.fillText(shortened(pen, task.group + " · " + task.schedule, GUTTER - 90), 12, top + 25);
  pen.textAlign = "right";
  pen.fillText(counted(task.dispatched, "run"), GUTTER - 10, top + 13);
  const note = task.bad ? task.bad + " bad" : task.unstarted.length ? task.unstarted.length + " never began"
    : task.skips.length ? task.skips.length + " skipped"
    : task.latest >= SECOND ? "≤ " + length(task.latest) + " late" : "on time";
  pen.fillStyle = task.bad || task.unstarted.length ? colours.failed : task.skips.length ? colours.skipped : colours.soft;
  pen.fillText(note, GUTTER - 10, top + 25);
  pen.textAlign = "left";
  fill(pen, colours.line, GUTTER - 1, top, 1, ROW);
};
const drawFaults = (pen, width, height) => {
  for (const [at, until] of data.faults) {
    const left = x(at), right = until === null ? left : x(until);
    if (right < GUTTER || left > width) continue;
    pen.globalAlpha = 0.1;
    if (right - left > 1) fill(pen, colours.fault, Math.max(GUTTER, left), 0, Math.min(width, right) - Math.max(GUTTER, left), height);
    pen.globalAlpha = 0.8;
    if (left >= GUTTER) for (let y = 0; y < height; y += 7) fill(pen, colours.fault, left, y, 1, 4);
    pen.globalAlpha = 1;
  }
};
