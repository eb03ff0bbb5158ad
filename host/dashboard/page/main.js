// The page: it shows what its source tells, once every half second, and asks for the task stream once every second.

import {$, element, setText, table} from "./dom.js";
import {bytes, duration, number, percent, short} from "./format.js";
import {open} from "./source.js";
import {Stream, colorOf} from "./stream.js";
import {bars, breakEven, histogram, overTime, units} from "./charts.js";

let told = null;
let zoom = {from: null, to: null};
let lastTimeline = 0, asked = false, nextLine = 0;
const lines = [];
const maxLines = 2000;
let pace = {at: 0, done: 0, rate: 0};

const stream = new Stream((from, to) => {
	zoom = {from, to};
	refresh(true);
});
const rate = overTime($("rate"), [{label: "items/s", color: "--accent", fill: true}, {label: "failed/s", color: "--bad"}], units.short);
let marks = [];
const memory = overTime($("memory"), [{label: "all workers", color: "--accent", fill: true}, {label: "largest", color: "--good"}, {label: "its limit", color: "--bad", dash: [5, 4]}], units.bytes, {
	draw: [(plot) => { // each death is a line
		plot.ctx.save();
		plot.ctx.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--bad");
		for (const at of marks) {
			const x = Math.round(plot.valToPos(at, "x", true)) + 0.5;
			if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
			plot.ctx.beginPath();
			plot.ctx.moveTo(x, plot.bbox.top);
			plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
			plot.ctx.stroke();
		}
		plot.ctx.restore();
	}],
});
const runTimes = histogram($("run-times")), waitTimes = histogram($("wait-times"));

const source = open(show, (why) => note(why || (told?.view.ended ? "The run has ended, and its page is no longer served." : "The run does not answer. It may have ended.")));

// note shows what is wrong with the page, until it is not.
function note(text) {
	$("note").hidden = text === "";
	setText($("note"), text);
}

let saidUntil = 0;

// say shows for a while what came of a key.
function say(text) {
	saidUntil = Date.now() + 8000;
	$("said").hidden = false;
	setText($("said"), text);
}

function show(news) {
	const v = news.view;
	if (told && (told.run !== news.run || told.view.begun !== v.begun)) { // another run
		zoom = {from: null, to: null};
		pace = {at: 0, done: 0, rate: 0};
		lastTimeline = 0;
		$("run").value = news.run;
	}
	told = news;
	if (news.lines < nextLine) { // another parhost at the same address
		nextLine = 0;
		lines.length = 0;
	}
	note(v.hidden_workers ? `${number(v.hidden_workers)} more workers are not shown.` : "");
	if (Date.now() > saidUntil) $("said").hidden = true;
	document.title = `${v.total > 0 ? `${Math.floor(100 * Math.min(1, v.done / v.total))} % ` : ""}${v.title} · parhost`;
	setText($("title"), v.title);
	head(v);
	runs(news);
	keys(news);
	failures(v);
	table($("slowest"), ["#item", "#took", "#worker", "item"], (v.slowest ?? []).map((s) => [number(s.place), duration(s.took_ns), s.worker, s.item ?? ""]));
	workers(v, news.keys);
	times(v.run, "run", runTimes);
	times(v.wait, "wait", waitTimes);
	waits(v.waits);
	facts(v);
	$("logs-block").hidden = news.lines === 0;
	if (news.lines > nextLine) logs();
	refresh(false);
}

function head(v) {
	const now = v.now_ms / 1e3;
	if (v.ended || document.getElementById("data")) {
		pace.rate = now > 0 ? v.done / now : 0;
	} else if (now > pace.at) {
		const fresh = Math.max(0, v.done - pace.done) / (now - pace.at);
		const keep = pace.at === 0 ? 0 : Math.exp(-(now - pace.at) / 5);
		pace = {at: now, done: v.done, rate: keep * pace.rate + (1 - keep) * fresh};
	}
	const t = v.totals;
	const words = [v.total >= 0 ? `${number(v.done)} of ${v.estimate ? "~" : ""}${number(v.total)}` : `${number(v.done)} done`, `${number(t.ok)} ok`, `${number(t.failed)} failed`];
	if (t.retried) words.push(`${number(t.retried)} begun again`);
	if (t.resumed) words.push(`${number(t.resumed)} from the joblog`);
	if (t.replaced) words.push(`${number(t.replaced)} workers replaced`);
	words.push(`${short(pace.rate)} items/s`, duration(v.now_ms * 1e6));
	if (!v.ended && v.total > v.done && pace.rate > 0) words.push(`about ${duration((v.total - v.done) / pace.rate * 1e9)} left`);
	setText($("counts"), words.join(" · "));
	setText($("waiting"), v.ended ? `${v.label === "joblog" ? "So far" : "Ended"}: ${v.summary}` : v.paused ? "Paused" : v.waiting);
	const bar = $("progress"); // how much there was to do, a joblog does not say
	bar.hidden = v.total <= 0;
	if (v.total > 0) bar.value = Math.min(1, v.done / v.total);
}

function runs(news) {
	$("runs").hidden = news.runs.length < 2;
	const select = $("run");
	if (select.options.length !== news.runs.length) {
		select.replaceChildren(...news.runs.map((label, i) => element("option", {value: i, textContent: label})));
		select.value = news.run;
	}
	select.onchange = () => source.choose(Number(select.value));
}

async function press(key, parameters = {}) {
	try {
		return await source.press(key, parameters);
	} catch (e) {
		say(e.message);
		return null;
	}
}

let confirmed = 0;

function keys(news) {
	const v = news.view;
	const bar = $("keys");
	const shown = source.hasKeys && !v.ended ? [...news.keys, v.paused] .join() : "none";
	if (bar.dataset.shown === shown) return;
	bar.dataset.shown = shown;
	bar.replaceChildren();
	if (shown === "none") return;
	const add = (label, title, act) => bar.append(element("button", {textContent: label, title, onclick: act}));
	if (news.keys.includes("pause")) add(v.paused ? "Go on (p)" : "Pause (p)", "Running items end, and no others begin", () => press(told.view.paused ? "resume" : "pause"));
	if (news.keys.includes("resize")) {
		add("Worker +", "One worker more", () => press("more"));
		add("Worker −", "One worker less", () => press("less"));
	}
	if (news.keys.includes("drain")) add("Stop (d)", "Let running items end, then stop", drain);
}

function drain() {
	if (Date.now() - confirmed > 5000) {
		confirmed = Date.now();
		say("Press Stop once more within five seconds to let running items end and stop the run.");
		return;
	}
	confirmed = 0;
	say("Running items end, and no others begin.");
	press("drain");
}

document.addEventListener("keydown", (e) => {
	if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) || !told || !source.hasKeys || told.view.ended) return;
	if (e.key === "p" && told.keys.includes("pause")) press(told.view.paused ? "resume" : "pause");
	if (e.key === "d" && told.keys.includes("drain")) drain();
});

function matches(filter, ...texts) {
	const words = filter.toLowerCase().trim().split(/\s+/).filter(Boolean);
	const text = texts.join(" ").toLowerCase();
	return words.every((w) => text.includes(w));
}

function failures(v) {
	$("failures-block").hidden = !v.failures?.length;
	if (!v.failures?.length) return;
	setText($("failed-count"), `(${number(v.totals.failed)})`);
	const filter = $("failure-filter").value;
	const rows = v.failures.filter((f) => matches(filter, f.kind, f.cause ?? "", f.message, f.item ?? "", `item ${f.first}`, `worker ${f.worker}`)).map((f) => [
		number(f.count), f.cause && f.cause !== f.kind ? `${f.kind} (${f.cause})` : f.kind, f.message, `${number(f.first)}${f.count > 1 ? ` … ${number(f.last)}` : ""}`, f.item ?? "", f.replay ? replay(f.replay) : "",
	]);
	if (v.other_failures) rows.push([number(v.other_failures), "", "others, of more kinds than are kept apart", "", "", ""]);
	table($("failures"), ["#times", "kind", "message", "#place", "item", "again"], rows);
}

function replay(line) {
	const b = element("button", {textContent: "Copy command", title: line});
	b.dataset.key = line;
	b.onclick = async () => {
		try {
			await navigator.clipboard.writeText(line);
			b.textContent = "Copied";
		} catch {
			say(line);
		}
	};
	return b;
}

$("failure-filter").oninput = () => {
	if (told) failures(told.view);
	failed();
};
$("failed-block").ontoggle = () => failed();

async function failed() {
	if (!$("failed-block").open) return;
	const filter = $("failure-filter").value;
	const list = (await source.failed()).reverse().filter((f) => matches(filter, f.kind, f.cause ?? "", f.message ?? "", f.item ?? "", `item ${f.place}`, `worker ${f.worker}`)).slice(0, 200);
	table($("failed"), ["#item", "kind", "message", "#worker", "#at", "#took", "attempt"], list.map((f) => [
		number(f.place), f.kind, f.message ?? "", f.worker || "none", duration(f.begun_ns), duration(f.took_ns), f.again ? `${f.attempts}, begun again` : `${f.attempts}`,
	]));
}

function workers(v, keys) {
	$("workers-block").hidden = v.ended;
	const act = source.hasKeys && (keys.includes("stack") || keys.includes("cancel"));
	table($("workers"), ["#worker", "#pid", "#runs item", "#for", "#done", "#batches", "memory", "#CPU", "#starts", "died of", ...(act ? ["keys"] : [])], v.workers.map((w) => [
		w.worker, w.pid, w.item < 0 ? w.batches ? "" : "idle" : `${number(w.item)}${w.more ? ` and ${w.more} more` : ""}${w.progress !== undefined ? ` ${percent(w.progress)}` : ""}`,
		w.item < 0 ? "" : duration(w.for_ms * 1e6), number(w.items), w.batches, w.rss && w.mode === "process" ? meter(w.rss, v.limit) : "", w.rss && w.mode === "process" ? percent(w.load) : "", w.starts, w.deaths ?? "",
		...(act ? [workerKeys(w, keys)] : []),
	]));
}

function meter(rss, limit) {
	if (!limit) return bytes(rss);
	const fill = element("i", {});
	fill.style.width = `${Math.min(100, 100 * rss / limit)}%`;
	const e = element("span", {}, element("span", {className: "meter"}, fill), `${bytes(rss)} of ${bytes(limit)}`);
	e.dataset.key = `${rss}/${limit}`;
	return e;
}

function workerKeys(w, keys) {
	const e = element("span", {className: "tools"});
	e.dataset.key = `${w.worker} ${keys.includes("cancel") ? w.item : ""}`;
	if (keys.includes("stack")) e.append(element("button", {textContent: "Stack", title: `What worker ${w.worker} is doing`, onclick: async () => {
		const text = await press("stack", {worker: w.worker});
		if (text === null) return;
		$("stack").hidden = false;
		setText($("stack"), text);
		$("stack").focus();
	}}));
	if (keys.includes("cancel") && w.item >= 0) e.append(element("button", {textContent: `End item ${number(w.item)}`, onclick: () => press("cancel", {worker: w.worker, item: w.item})}));
	return e;
}

function times(h, name, chart) {
	setText($(`${name}-words`), h.count ? `half of ${number(h.count)} items: ${duration(h.p50_ns)} · 99 %: ${duration(h.p99_ns)} · longest: ${duration(h.max_ns)}` : "nothing yet");
	if (h.bars?.length) chart.set(bars(h.bars));
}

function waits(list) {
	const ul = $("waits");
	const shown = list.filter((w) => w.share >= 0.001);
	const key = JSON.stringify(shown.map((w) => [w.words, percent(w.share)]));
	if (ul.dataset.key === key) return;
	ul.dataset.key = key;
	ul.replaceChildren(...shown.map((w) => {
		const box = element("i", {});
		box.style.background = colorOf(w.words) ?? "var(--accent)";
		return element("li", {}, box, `${w.words} ${percent(w.share)}`);
	}));
}

function facts(v) {
	const list = [["begun", new Date(v.begun).toLocaleString()], ...(v.facts ?? []).map((f) => [f.name, f.value])];
	const t = v.totals.traffic ?? {};
	if (t.messages || t.arena || t.buffers) list.push(["sent and received", `${bytes(t.messages ?? 0)} in messages, ${bytes(t.arena ?? 0)} in arenas, ${bytes(t.buffers ?? 0)} in buffers`]);
	if (!v.ended) list.push(["read ahead", `${number(v.queued)} items`], ["held", `${number(v.held)} items in batches, or done and waiting to be taken`]);
	const key = JSON.stringify(list);
	if ($("facts").dataset.key === key) return;
	$("facts").dataset.key = key;
	$("facts").replaceChildren(...list.flatMap(([name, value]) => [element("dt", {textContent: name}), element("dd", {textContent: value})]));
}

let fetching = false;

async function logs() {
	if (fetching) return;
	fetching = true;
	try {
		const fresh = await source.logs(nextLine);
		if (fresh.length) nextLine = fresh[fresh.length - 1].number + 1;
		lines.push(...fresh);
		lines.splice(0, Math.max(0, lines.length - maxLines));
		showLogs();
	} catch { /* the server has gone, which the events say */ } finally {
		fetching = false;
	}
}

function showLogs() {
	const filter = $("log-filter").value;
	const box = $("logs");
	const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 20;
	const shown = lines.filter((l) => matches(filter, l.text, l.level, l.worker ? `worker ${l.worker}` : "", l.item >= 0 ? `item ${l.item}` : "")).slice(-500);
	box.replaceChildren(...shown.map((l) => element("div", {className: l.level === "error" ? "bad" : ""}, `${new Date(l.at).toLocaleTimeString()} ${l.level} ${l.text}`)));
	if (atEnd) box.scrollTop = box.scrollHeight;
}

$("log-filter").oninput = showLogs;

// refresh asks for the part of the task stream that is shown, at most once a second, unless the part has changed.
async function refresh(now) {
	if (asked || !now && Date.now() - lastTimeline < 900 || document.hidden) {
		if (now) lastTimeline = 0;
		return;
	}
	if (!now && told.view.ended && lastTimeline > 0 && stream.data) return;
	asked = true;
	lastTimeline = Date.now();
	const wanted = {...zoom};
	try {
		const bins = Math.max(50, Math.min(600, Math.floor($("lanes").clientWidth / 3)));
		const t = await source.timeline(wanted.from, wanted.to, bins);
		if (wanted.from === zoom.from && wanted.to === zoom.to) showTimeline(t);
	} catch { /* as above */ } finally {
		asked = false;
		if (wanted.from !== zoom.from || wanted.to !== zoom.to) refresh(true);
	}
}

function showTimeline(t) {
	const v = told.view;
	stream.set(t, v.workers.filter((w) => w.item >= 0).map((w) => ({worker: w.worker, item: w.item, from: v.now_ms - w.for_ms, to: v.now_ms})));
	$("stream-block").hidden = t.lanes.length === 0;
	const until = t.from_ms + t.items.length * t.width_ms;
	setText($("range"), `${duration(t.from_ms * 1e6)} to ${duration(until * 1e6)}, a place is ${duration(t.width_ms * 1e6)} wide${t.hidden_lanes ? `; ${number(t.hidden_lanes)} more rows are not shown` : ""}`);
	const x = t.items.map((_, i) => (t.from_ms + i * t.width_ms) / 1e3);
	const per = t.width_ms / 1e3;
	rate.set([x, t.items.map((n) => n / per), t.failed.map((n) => n / per)]);
	marks = (t.deaths ?? []).map((d) => (new Date(d.at) - new Date(told.view.begun)) / 1e3);
	const seen = (list) => { // memory is looked at now and then: between two looks the last one counts
		let last = null;
		return list.map((n) => (last = n || last));
	};
	$("memory").hidden = !t.rss.some((n) => n > 0);
	memory.set([x, seen(t.rss), seen(t.most), t.items.map(() => told.view.limit || null)]);
	$("deaths").replaceChildren(...(t.deaths ?? []).slice(0, 20).map((d) => element("li", {className: "bad", textContent: `${duration((new Date(d.at) - new Date(told.view.begun)) * 1e6)}: worker ${d.worker} (pid ${d.pid}): ${d.reason}`})));
}

function contrast(c) {
	$("contrast").hidden = false;
	setText($("verdict"), c.verdict);
	const most = Math.max(...c.modes.map((m) => m.speed_up));
	const list = element("div", {className: "speed"});
	for (const m of c.modes) {
		const fill = element("i", {});
		fill.style.width = `${100 * m.speed_up / most}%`;
		list.append(element("span", {textContent: m.label}), element("span", {}, fill), element("span", {textContent: `${m.speed_up.toFixed(2)} ×`}));
	}
	$("speedups").replaceChildren(element("h3", {textContent: "Speed-up"}), list);
	table($("modes"), ["mode", "#workers", "#wall", "#items/s", "#speed-up", "#dispatch/item", "#start-up", "#against process", "#host RSS", "#workers RSS", "a crash takes", "memory"], c.modes.map((m) => [
		m.label, m.workers, duration(m.wall_s * 1e9), short(m.items_per_s), `${m.speed_up.toFixed(2)} ×`, duration(m.dispatch_us_per_item * 1e3), duration(m.start_s * 1e9),
		c.modes[2] ? `${(m.wall_s / c.modes[2].wall_s).toFixed(2)} ×` : "", m.host_rss ? bytes(m.host_rss) : "–", m.workers_rss ? bytes(m.workers_rss) : "–", m.a_crash_takes, m.memory_shared ? "shared" : "separate",
	]));
	$("even").append(element("h3", {textContent: "Time of a run, by the time of an item"}));
	breakEven($("even"), c.modes);
}

if (source.data?.contrast) contrast(source.data.contrast);
