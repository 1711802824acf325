"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const GUTTER = 250, ROW = 30, BAR = 12;
  const ENDINGS = ["succeeded", "retried", "failed", "cancelled", "handed", "lost", "unfinished"];

  // -- data ----------------------------------------------------------------------------------------------------------

  const unrolled = (runs) => {
    const all = [];
    for (let at = 0; at < runs.length; at += 2) for (let n = runs[at + 1]; n > 0; n--) all.push(runs[at]);
    return all;
  };
  const tasks = data.tasks.map((task) => {
    const lengths = unrolled(task.length), jitter = unrolled(task.jitter), late = unrolled(task.late);
    const worker = unrolled(task.worker), ending = unrolled(task.ending), attempt = unrolled(task.attempt);
    let slot = 0, longest = 0, latest = 0;
    const runs = unrolled(task.slots).map((step, at) => {
      slot += step;
      const due = slot + jitter[at], began = due + late[at];
      const ended = lengths[at] < 0 ? data.length : began + lengths[at];
      longest = Math.max(longest, ended - began);
      if (attempt[at] === 1) latest = Math.max(latest, late[at]);
      return { slot, due, began, ended, open: lengths[at] < 0, late: late[at], worker: data.lives[worker[at]],
        ending: ending[at], attempt: attempt[at], error: task.errors[at] };
    });
    const bad = runs.filter((run) => run.ending && run.ending < 6).length;
    return { ...task, runs: [...runs].sort((a, b) => a.began - b.began), slots: runs.map((run) => run.slot),
      longest, latest, bad, title: task.group + "/" + task.name };
  });
  const executions = tasks.reduce((sum, task) => sum + task.runs.length, 0);

  // -- words ---------------------------------------------------------------------------------------------------------

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

  const look = (begin, end) => {
    const span = Math.min(data.length, Math.max(2 * SECOND, end - begin));
    from = Math.min(Math.max(0, begin), data.length - span);
    to = from + span;
    history.replaceState(null, "", "#" + Math.round(from) + "-" + Math.round(to));
    draw();
  };
  const zoom = (factor, around = (from + to) / 2) =>
    look(around - (around - from) * factor, around + (to - around) * factor);
  const move = (share) => look(from + (to - from) * share, to + (to - from) * share);

  // -- drawing -------------------------------------------------------------------------------------------------------

  const prepared = (target, height) => {
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
    const pen = prepared(axis, 40), { step, found } = ticks();
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

  const load = () => {
    const width = Math.max(1, overview.clientWidth - GUTTER), peaks = new Float64Array(width + 1), events = [];
    for (const task of tasks) for (const run of task.runs) events.push([run.began, 1], [run.ended, -1]);
    events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    let level = 0, before = 0;
    for (const [at, change] of events) {
      const here = Math.min(width, Math.floor((at / data.length) * width));
      for (let px = before; px <= here; px++) peaks[px] = Math.max(peaks[px], level);
      level += change;
      peaks[here] = Math.max(peaks[here], level);
      before = here;
    }
    return peaks;
  };
  let peaks = null;
  const drawOverview = () => {
    const pen = prepared(overview, 64), width = overview.clientWidth - GUTTER;
    if (!peaks || peaks.length !== width + 1) peaks = load();
    const top = Math.max(data.places, ...peaks), height = (level) => (level / top) * 48;
    peaks.forEach((level, px) => fill(pen, colours.load, GUTTER + px, 60 - height(level), 1, height(level)));
    fill(pen, colours.limit, GUTTER, 60 - height(data.places), width, 1);
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = colours.text;
    pen.fillText("executing at a time", 12, 26);
    pen.fillStyle = colours.limit;
    pen.fillText("places: " + data.workers + " × " + data.concurrency + " = " + data.places, 12, 44);
    for (const [at] of data.marks) {
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

  const fitted = (pen, text, room) => {
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
    const pen = prepared(canvas, height), width = rows.clientWidth, scroll = rows.scrollTop;
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
    drawMarks(pen, width, height);
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
      if (run.ending) rest.push(run);
      else if (right - left >= 2.5) fill(pen, colours.succeeded, left, bar, right - left - 0.5, BAR);
      else {
        const px = Math.max(0, Math.floor(left - GUTTER));
        busy[px] = Math.min(1, busy[px] + (right - left) + 0.12);
      }
    }
    busy.forEach((share, px) => {
      if (!share) return;
      pen.globalAlpha = 0.3 + 0.7 * share;
      fill(pen, colours.succeeded, GUTTER + px, bar, share < 0.5 && perPixel < MINUTE ? 1.5 : 1, BAR);
    });
    pen.globalAlpha = 1;
    for (const run of rest) {
      const left = x(run.began), size = Math.max(3, x(run.ended) - left);
      fill(pen, colours[ENDINGS[run.ending]], left, bar, size, BAR);
    }
    let skipped = -9;
    for (const [slot] of task.skips) {
      const px = x(slot);
      if (slot < from || slot > to || px - skipped < 2) continue;
      diamond(pen, (skipped = px), top + 7, colours.skipped);
    }
    for (const slot of task.open) {
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
    const name = fitted(pen, task.name, GUTTER - 100);
    pen.fillText(name, 12, top + 13);
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = colours.soft;
    pen.fillText(fitted(pen, task.group + " · " + task.schedule, GUTTER - 90), 12, top + 25);
    pen.textAlign = "right";
    pen.fillText(task.runs.length + (task.runs.length === 1 ? " run" : " runs"), GUTTER - 10, top + 13);
    const worst = task.bad ? task.bad + " bad" : task.skips.length ? task.skips.length + " skipped"
      : task.latest >= SECOND ? "≤ " + length(task.latest) + " late" : "on time";
    pen.fillStyle = task.bad ? colours.failed : task.skips.length ? colours.skipped : colours.soft;
    pen.fillText(worst, GUTTER - 10, top + 25);
    pen.textAlign = "left";
    fill(pen, colours.line, GUTTER - 1, top, 1, ROW);
  };
  const drawMarks = (pen, width, height) => {
    for (const [at, until] of data.marks) {
      const left = x(at), right = until === null ? left : x(until);
      if (right < GUTTER || left > width) continue;
      pen.globalAlpha = 0.1;
      if (right - left > 1) fill(pen, colours.fault, Math.max(GUTTER, left), 0, Math.min(width, right) - Math.max(GUTTER, left), height);
      pen.globalAlpha = 0.8;
      if (left >= GUTTER) for (let y = 0; y < height; y += 7) fill(pen, colours.fault, left, y, 1, 4);
      pen.globalAlpha = 1;
    }
  };

  // -- looking closer ------------------------------------------------------------------------------------------------

  const told = (event) => {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left;
    const row = Math.floor((event.clientY - box.top + rows.scrollTop) / ROW), task = shown[row];
    if (!task) return null;
    if (px < GUTTER) {
      return [task.title, task.schedule + "\noverlap: " + task.overlap + "\n" + task.runs.length + " executions, " +
        task.skips.length + " slots skipped\nlatest start: " + length(task.latest) + " after it was due\nlongest execution: " +
        length(task.longest)];
    }
    const at = timeAt(px), near = (4 * (to - from)) / plot();
    const mark = data.marks.find(([begin]) => Math.abs(begin - at) < near / 2);
    let best = null, distance = near;
    for (let index = firstFrom(task.runs, at - task.longest - near, (run) => run.began); index < task.runs.length; index++) {
      const run = task.runs[index];
      if (run.began > at + near) break;
      const gap = Math.max(0, run.began - at, at - run.ended);
      if (gap < distance || (gap === 0 && run.ending)) [best, distance] = [run, gap];
    }
    const skip = task.skips.find(([slot]) => Math.abs(slot - at) < near);
    if (skip) return [task.title, "planned " + moment(skip[0]) + "\nskipped: " + data.reasons[skip[1]]];
    const fault = mark ? "\n\n" + moment(mark[0]) + ": " + mark[2] + " " + mark[3] : "";
    if (best) return [task.title, about(best) + fault];
    return mark ? [mark[2] + " " + mark[3], moment(mark[0]) + (mark[1] === null ? "" : " – " + moment(mark[1]))] : null;
  };
  const about = (run) => [
    "planned " + moment(run.slot) + (run.due > run.slot ? " + jitter " + length(run.due - run.slot) : ""),
    "began " + moment(run.began) + (run.late ? ", " + length(run.late) + " late" : ", on time"),
    run.open ? "not finished at the end" : "ended " + moment(run.ended) + ", after " + length(run.ended - run.began),
    data.endings[run.ending] + " on " + run.worker + (run.attempt > 1 ? ", attempt " + run.attempt : ""),
    ...(run.error ? [run.error] : []),
  ].join("\n");
  const explain = (event) => {
    const what = told(event);
    tip.hidden = !what;
    if (!what) return;
    tip.replaceChildren(element("b", what[0]), document.createTextNode(what[1]));
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
    tip.style.left = left + "px";
    tip.style.top = (below ? event.clientY + 16 : event.clientY - tip.offsetHeight - 10) + "px";
  };

  // -- hands ---------------------------------------------------------------------------------------------------------

  let grip = null;
  rows.addEventListener("pointerdown", (event) => {
    if (event.offsetX < GUTTER && event.target !== canvas) return;
    grip = { px: event.clientX, from, to };
    rows.classList.add("moving");
  });
  addEventListener("pointermove", (event) => {
    if (!grip) return;
    tip.hidden = true;
    const shift = ((grip.px - event.clientX) / plot()) * (grip.to - grip.from);
    look(grip.from + shift, grip.to + shift);
  });
  addEventListener("pointerup", () => {
    grip = null;
    rows.classList.remove("moving");
  });
  canvas.addEventListener("mousemove", (event) => grip || explain(event));
  canvas.addEventListener("mouseleave", () => (tip.hidden = true));
  rows.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(Math.max(GUTTER, event.clientX - canvas.getBoundingClientRect().left)));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move((event.deltaX || event.deltaY) / 1000);
    }
  }, { passive: false });
  rows.addEventListener("scroll", drawRows);
  rows.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "+": () => zoom(0.5), "=": () => zoom(0.5),
      "-": () => zoom(2), Home: () => look(0, to - from), End: () => look(data.length - (to - from), data.length) };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  const inOverview = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left - GUTTER) / (box.width - GUTTER))) * data.length;
  };
  let brush = null;
  overview.addEventListener("pointerdown", (event) => {
    overview.setPointerCapture(event.pointerId);
    brush = inOverview(event);
  });
  overview.addEventListener("pointermove", (event) => {
    if (brush !== null && Math.abs(inOverview(event) - brush) > data.length / 300) {
      look(Math.min(brush, inOverview(event)), Math.max(brush, inOverview(event)));
    }
  });
  overview.addEventListener("pointerup", (event) => {
    const here = inOverview(event), half = (to - from) / 2;
    if (Math.abs(here - brush) <= data.length / 300) look(here - half, here + half);
    brush = null;
  });
  $("back").onclick = () => move(-0.5);
  $("forth").onclick = () => move(0.5);
  $("in").onclick = () => zoom(0.5);
  $("out").onclick = () => zoom(2);
  $("filter").addEventListener("input", (event) => {
    const sought = event.target.value.toLowerCase();
    shown = tasks.filter((task) => task.title.toLowerCase().includes(sought));
    rows.scrollTop = 0;
    draw();
  });

  // -- round the chart -----------------------------------------------------------------------------------------------

  const spans = [[data.length, "all"], [7 * DAY, "7 d"], [DAY, "1 d"], [6 * HOUR, "6 h"], [HOUR, "1 h"], [10 * MINUTE, "10 min"]];
  for (const [span, text] of spans.filter(([span], at) => !at || span < data.length)) {
    const button = element("button", text, $("spans"));
    button.span = span;
    button.onclick = () => look((from + to - span) / 2, (from + to + span) / 2);
  }
  $("circumstances").textContent = length(data.length) + " from " + moment(0) + " UTC, " + data.workers +
    " workers with " + data.concurrency + " runs at a time each. Production code in virtual time: configured intervals until " +
    data.settling + " after each fault, rests of up to " + data.calm + " elsewhere.";
  const sum = (of) => tasks.reduce((total, task) => total + of(task), 0);
  const ended = (ending) => sum((task) => task.runs.filter((run) => run.ending === ending).length);
  const tile = (number, text, bad) => {
    const made = element("div", undefined, $("tiles"), bad && number ? "bad" : "");
    element("b", typeof number === "number" ? number.toLocaleString("en") : number, made);
    element("span", text, made);
  };
  tile(tasks.length, "tasks");
  tile(executions, "executions");
  tile(length(Math.max(0, ...tasks.map((task) => task.latest))), "latest start");
  tile(sum((task) => task.skips.length), "slots skipped");
  tile(ended(1) + ended(2), "failed attempts", true);
  tile(ended(5), "lost with a worker", true);
  tile(data.marks.length, "faults");
  tile(Math.max(0, data.leaders.length - 1), "changes of leader");

  const legend = [["plan", "planned slot", "tick"], ["succeeded", "succeeded (paler: busy for a part of the pixel)"],
    ["retried", "failed, to be retried"], ["failed", "failed for good"], ["lost", "lost with its worker"],
    ["handed", "handed back by a worker that stopped"], ["cancelled", "cancelled"], ["skipped", "skipped slot", "diamond"],
    ["unfinished", "not executed or not finished", "box"], ["fault", "fault", "dashes"]];
  const drawLegend = () => {
    $("legend").replaceChildren();
    for (const [colour, text, shape] of legend) {
      const entry = element("span", undefined, $("legend")), sample = element("canvas", undefined, entry);
      sample.style.width = "18px";
      sample.style.height = "12px";
      const pen = prepared(sample, 12);
      if (shape === "tick") fill(pen, colours[colour], 8, 2, 1.5, 8);
      else if (shape === "diamond") diamond(pen, 9, 6, colours[colour]);
      else if (shape === "dashes") for (let y = 0; y < 12; y += 5) fill(pen, colours[colour], 8, y, 1.5, 3);
      else if (shape === "box") [pen.strokeStyle] = [colours[colour]], pen.strokeRect(6.5, 3.5, 5, 5);
      else fill(pen, colours[colour], 0, 1, 18, 10);
      element("span", text, entry);
    }
    element("span", "Drag to move, Ctrl + wheel to zoom, drag in the strip above to choose a part.", $("legend"));
  };

  for (const finding of data.findings) {
    const box = element("div", undefined, $("findings"), "finding"), head = element("header", undefined, box);
    const title = element("h2", finding.title + " ", head);
    element("span", finding.count.toLocaleString("en"), title);
    element("p", finding.hint + (finding.count > finding.moments.length ? "; the first " + finding.moments.length : ""), head);
    const list = element("ol", undefined, box);
    for (const [begin, end, text] of finding.moments) {
      const button = element("button", undefined, element("li", undefined, list));
      element("time", moment(begin), button);
      element("span", text, button);
      button.onclick = () => {
        focus = [begin, end];
        const span = Math.max(5 * MINUTE, 3 * (end - begin));
        look((begin + end - span) / 2, (begin + end + span) / 2);
        const row = shown.findIndex((task) => text.startsWith(task.title + " ") || text.startsWith(task.title + ":"));
        if (row >= 0) rows.scrollTop = Math.max(0, row * ROW - rows.clientHeight / 2);
        $("chart").scrollIntoView({ block: "nearest", behavior: "smooth" });
        drawRows();
      };
    }
  }

  const repaint = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["text", "soft", "line", "faint", "accent", "brush", "plan", "load", "limit", "skipped", "fault", ...ENDINGS]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
    drawLegend();
    draw();
  };
  const asked = /^#(\d+)-(\d+)$/.exec(location.hash);
  if (asked) [from, to] = [Math.min(+asked[1], data.length - 2 * SECOND), Math.min(+asked[2], data.length)];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("resize", draw);
  repaint();
})();
