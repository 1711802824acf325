// -- tooltips ------------------------------------------------------------------------------------------------------

const tooltipAt = (event) => {
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left;
  const row = Math.floor((event.clientY - box.top + rows.scrollTop) / ROW), task = shown[row];
  if (!task) return null;
  if (px < GUTTER) {
    return [task.title, task.schedule + "\noverlap: " + task.overlap + "\n" + counted(task.dispatched, "run") + ", " +
      counted(task.runs.length, "attempt") + ", " +
      task.skips.length + " slots skipped, " + task.unstarted.length + " never began\nlatest start: " + length(task.latest) + " after it was due\nlongest execution: " +
      length(task.longest)];
  }
  const at = timeAt(px), near = (4 * (to - from)) / plot();
  const fault = data.faults.find(([begin]) => Math.abs(begin - at) < near / 2);
  let best = null, distance = near;
  for (let index = firstFrom(task.runs, at - task.longest - near, (run) => run.began); index < task.runs.length; index++) {
    const run = task.runs[index];
    if (run.began > at + near) break;
    const gap = Math.max(0, run.began - at, at - run.ended);
    if (gap < distance || (gap === 0 && run.status)) [best, distance] = [run, gap];
  }
  const skip = task.skips.find(([slot]) => Math.abs(slot - at) < near);
  if (skip) return [task.title, "planned " + moment(skip[0]) + "\nskipped: " + data.reasons[skip[1]]];
  const open = task.unstarted.find((slot) => Math.abs(slot - at) < near);
  if (open !== undefined) return [task.title, "planned " + moment(open) + "\nnever began"];
  const faultText = fault ? "\n\n" + moment(fault[0]) + ": " + (fault[2] + " " + fault[3]).trim() : "";
  if (best) return [task.title, describe(best) + faultText];
  return fault ? [(fault[2] + " " + fault[3]).trim(), moment(fault[0]) + (fault[1] === null ? "" : " – " + moment(fault[1]))] : null;
};
const describe = (run) => [
  "planned " + moment(run.slot) + (run.due > run.slot ? " + jitter " + length(run.due - run.slot) : ""),
  "began " + moment(run.began) + (run.late ? ", " + length(run.late) + " late" : ", on time"),
  run.open ? "not finished at the end" : "ended " + moment(run.ended) + ", after " + length(run.ended - run.began),
  data.statuses[run.status] + " on " + run.worker + (run.attempt > 1 ? ", attempt " + run.attempt : ""),
  ...(run.error ? [run.error] : []),
].join("\n");
const showTooltip = (event) => {
  const what = tooltipAt(event);
  tip.hidden = !what;
  if (!what) return;
  tip.replaceChildren(element("b", what[0]), document.createTextNode(what[1]));
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
  tip.style.left = left + "px";
  tip.style.top = (below ? event.clientY + 16 : event.clientY - tip.offsetHeight - 10) + "px";
};

// -- moving and zooming --------------------------------------------------------------------------------------------

let drag = null;
rows.addEventListener("pointerdown", (event) => {
  if (event.offsetX < GUTTER && event.target !== canvas) return;
  drag = { px: event.clientX, from, to };
  rows.classList.add("moving");
});
addEventListener("pointermove", (event) => {
  if (!drag) return;
  tip.hidden = true;
  const shift = ((drag.px - event.clientX) / plot()) * (drag.to - drag.from);
  show(drag.from + shift, drag.to + shift);
});
addEventListener("pointerup", () => {
  drag = null;
  rows.classList.remove("moving");
});
canvas.addEventListener("mousemove", (event) => drag || showTooltip(event));
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
    "-": () => zoom(2), Home: () => show(0, to - from), End: () => show(data.length - (to - from), data.length) };
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
    show(Math.min(brush, inOverview(event)), Math.max(brush, inOverview(event)));
  }
});
overview.addEventListener("pointerup", (event) => {
  const here = inOverview(event), half = (to - from) / 2;
  if (Math.abs(here - brush) <= data.length / 300) show(here - half, here + half);
  brush = null;
});
$("back").onclick = () => move(-0.5);
$("forth").onclick = () => move(0.5);
$("in").onclick = () => zoom(0.5);
$("out").onclick = () => zoom(2);
$("filter").addEventListener("input", (event) => {
  const text = event.target.value.toLowerCase();
  shown = tasks.filter((task) => task.title.toLowerCase().includes(text));
  rows.scrollTop = 0;
  draw();
});

// -- around the chart ----------------------------------------------------------------------------------------------

const spans = [[data.length, "all"], [7 * DAY, "7 d"], [DAY, "1 d"], [6 * HOUR, "6 h"], [HOUR, "1 h"], [10 * MINUTE, "10 min"]];
for (const [span, text] of spans.filter(([span], at) => !at || span < data.length)) {
  const button = element("button", text, $("spans"));
  button.span = span;
  button.onclick = () => show((from + to - span) / 2, (from + to + span) / 2);
}
$("settings").textContent = length(data.length) + " from " + moment(0) + " UTC, " + counted(data.workers, "worker") +
  " with " + counted(data.concurrency, "run") + " at a time each. Production code in virtual time: configured intervals until " +
  data.settling + " after each fault, waits of up to " + data.calm + " elsewhere.";
const sum = (of) => tasks.reduce((total, task) => total + of(task), 0);
const countStatus = (status) => sum((task) => task.runs.filter((run) => run.status === status).length);
const tile = (number, text, bad) => {
  const made = element("div", undefined, $("tiles"), bad && number ? "bad" : "");
  element("b", typeof number === "number" ? number.toLocaleString("en") : number, made);
  element("span", text, made);
};
tile(tasks.length, tasks.length === 1 ? "task" : "tasks");
tile(sum((task) => task.dispatched), "runs");
tile(sum((task) => task.runs.length), "attempts");
tile(length(Math.max(0, ...tasks.map((task) => task.latest))), "latest start");
tile(sum((task) => task.unstarted.length), "never began", true);
tile(sum((task) => task.skips.length), "slots skipped");
tile(countStatus(1) + countStatus(2), "failed attempts", true);
tile(countStatus(5), "lost with a worker", true);
tile(data.faults.length, "faults");
tile(Math.max(0, data.leaders.length - 1), "changes of leader");

const legend = [["plan", "planned slot", "tick"], ["succeeded", "succeeded (paler: busy for a part of the pixel)"],
  ["retried", "failed, to be retried"], ["failed", "failed for good"], ["lost", "lost with its worker"],
  ["released", "released by a worker that stopped"], ["cancelled", "cancelled"], ["skipped", "skipped slot", "diamond"],
  ["unfinished", "not executed or not finished", "box"], ["fault", "fault", "dashes"]];
const drawLegend = () => {
  $("legend").replaceChildren();
  for (const [colour, text, shape] of legend) {
    const entry = element("span", undefined, $("legend")), sample = element("canvas", undefined, entry);
    sample.style.width = "18px";
    sample.style.height = "12px";
    const pen = context(sample, 12);
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
    const item = element("li", undefined, list);
    if (begin === null) {
      element("span", text, item);
      continue;
    }
    const button = element("button", undefined, item);
    element("time", moment(begin), button);
    element("span", text, button);
    button.onclick = () => {
      focus = [begin, end];
      const span = Math.max(5 * MINUTE, 3 * (end - begin));
      show((begin + end - span) / 2, (begin + end + span) / 2);
      const row = shown.findIndex((task) => text.startsWith(task.title + " ") || text.startsWith(task.title + ":"));
      if (row >= 0) rows.scrollTop = Math.max(0, row * ROW - rows.clientHeight / 2);
      $("chart").scrollIntoView({ block: "nearest", behavior: "smooth" });
      drawRows();
    };
  }
}

const redraw = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "soft", "line", "faint", "accent", "brush", "plan", "load", "peak", "limit", "skipped", "fault", ...STATUSES]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
  drawLegend();
  draw();
};
const linked = /^#(\d+)-(\d+)$/.exec(location.hash);
// The address may belong to the page of another simulation.
if (linked && +linked[1] < +linked[2] && +linked[1] < data.length) {
  to = Math.min(+linked[2], data.length);
  from = Math.max(0, Math.min(+linked[1], to - 2 * SECOND));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("resize", draw);
redraw();
