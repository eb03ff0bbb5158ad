// The task stream: a row for each thread of each worker, drawn from bins whose number does not depend on the number of items.

import {duration, number, percent} from "./format.js";
import {$} from "./dom.js";

const shades = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const left = 76; // pixels for the names of the rows
const bottom = 22; // pixels for the axis

// causes are what a run can wait for, with a colour of a gap each.
const causes = new Map([
	["the start of workers", "#7fb77e"], ["the next try to start workers", "#d98cb3"], ["input", "#8fa8c8"], ["the item that is next in order", "#a98fd6"],
	["results to be taken", "#e0a458"], ["the next attempt of items", "#c9b458"], ["the end of a pause", "#9aa0a6"], ["the joblog", "#b08968"],
	["the reader of stdout", "#e58e5a"],
]);

export function colorOf(cause) { return causes.get(cause); }

export class Stream {
	constructor(zoom) {
		this.canvas = $("stream");
		this.zoom = zoom; // called with from and to in milliseconds, or with nulls for all
		this.data = null;
		this.running = [];
		this.drag = null;
		this.listen();
	}

	// set shows a timeline. running are the items that run now, which the bins do not have yet.
	set(t, running) {
		this.data = t;
		const rows = new Map();
		for (const l of t.lanes) rows.set(l.worker, (rows.get(l.worker) ?? 0) + 1);
		this.running = running.filter((r) => rows.get(r.worker) === 1); // of several threads, nobody knows which one it is
		this.draw();
	}

	// size returns the height of a row.
	size() {
		const n = this.data?.lanes.length ?? 1;
		return n <= 8 ? 26 : n <= 24 ? 18 : n <= 64 ? 12 : 8;
	}

	draw() {
		const t = this.data;
		if (!t) return;
		const row = this.size();
		const width = Math.max(200, this.canvas.parentElement.clientWidth);
		const height = Math.max(1, t.lanes.length) * row + bottom;
		const dense = window.devicePixelRatio || 1;
		if (this.canvas.width !== Math.round(width * dense) || this.canvas.height !== Math.round(height * dense)) {
			this.canvas.width = Math.round(width * dense);
			this.canvas.height = Math.round(height * dense);
			this.canvas.style.width = `${width}px`;
			this.canvas.style.height = `${height}px`;
		}
		const style = getComputedStyle(document.documentElement);
		const busy = style.getPropertyValue("--busy"), bad = style.getPropertyValue("--bad"), ink = style.getPropertyValue("--ink"), faint = style.getPropertyValue("--faint");
		const c = this.canvas.getContext("2d");
		c.setTransform(dense, 0, 0, dense, 0, 0);
		c.clearRect(0, 0, width, height);
		c.font = "11px system-ui, sans-serif";
		c.textBaseline = "middle";
		const bins = t.items.length;
		this.perBin = (width - left) / Math.max(1, bins);
		const x = (bin) => left + bin * this.perBin;
		t.lanes.forEach((lane, i) => {
			const y = i * row, tall = row - (row > 10 ? 3 : 1);
			if (row >= 12 || i % 2 === 0) {
				c.fillStyle = faint;
				c.fillText(lane.thread ? `${lane.worker} · ${lane.thread + 1}` : `worker ${lane.worker}`, 2, y + row / 2, left - 6);
			}
			for (let b = 0; b < lane.busy.length; ) { // equal neighbours in one rectangle
				let e = b + 1;
				while (e < lane.busy.length && lane.busy[e] === lane.busy[b] && t.waits[e] === t.waits[b]) e++;
				const share = shades.indexOf(lane.busy[b]) / (shades.length - 1);
				const gap = causes.get(t.waits[b]);
				if (share < 1 && gap) {
					c.fillStyle = gap + "66";
					c.fillRect(x(b), y, x(e) - x(b), tall);
				}
				if (share > 0) {
					c.fillStyle = `rgba(${busy}, ${0.25 + 0.75 * share})`;
					c.fillRect(x(b), y, x(e) - x(b), tall);
				}
				b = e;
			}
			for (let f = 0; f < (lane.failed?.length ?? 0); f += 2) {
				c.fillStyle = bad;
				c.fillRect(x(lane.failed[f]), y + tall - Math.max(3, tall / 4), Math.max(2, this.perBin), Math.max(3, tall / 4));
			}
		});
		this.rows = new Map(t.lanes.map((l, i) => [`${l.worker}.${l.thread}`, i]));
		const perMS = this.perBin / t.width_ms;
		c.save();
		c.beginPath();
		c.rect(left, 0, width - left, height);
		c.clip();
		for (const r of this.running) {
			const from = left + (r.from - t.from_ms) * perMS, to = left + (r.to - t.from_ms) * perMS;
			if (to - from < 2) continue;
			const y = this.rows.get(`${r.worker}.0`) * row, tall = row - (row > 10 ? 3 : 1);
			c.fillStyle = `rgba(${busy}, 0.55)`;
			c.fillRect(from, y, to - from, tall);
			if (to - from > 60 && row >= 18) {
				c.fillStyle = ink;
				c.fillText(`${number(r.item)} …`, Math.max(from, left) + 4, y + tall / 2, to - from - 8);
			}
		}
		for (const s of t.spans ?? []) {
			const i = this.rows.get(`${s.worker}.${s.thread}`);
			const w = s.took_ns / 1e6 * perMS;
			if (i === undefined || w < 3) continue;
			const from = left + (s.begun_ns / 1e6 - t.from_ms) * perMS, y = i * row, tall = row - (row > 10 ? 3 : 1);
			c.strokeStyle = s.kind ? bad : style.getPropertyValue("--card");
			c.strokeRect(from + 0.5, y + 0.5, Math.max(1, w - 1), tall - 1);
			if (w > 40 && row >= 18) {
				c.fillStyle = style.getPropertyValue("--card");
				c.fillText(number(s.place), Math.max(from, left) + 4, y + tall / 2, w - 8);
			}
		}
		c.restore();
		const base = Math.max(1, t.lanes.length) * row + 4;
		c.fillStyle = ink;
		const ticks = Math.max(2, Math.floor((width - left) / 110));
		for (let i = 0; i <= ticks; i++) {
			const at = left + (width - left) * i / ticks;
			c.textAlign = i === 0 ? "left" : i === ticks ? "right" : "center";
			c.fillText(duration((t.from_ms + bins * t.width_ms * i / ticks) * 1e6), at, base + 8);
		}
		c.textAlign = "left";
		if (this.drag) {
			c.fillStyle = `rgba(${busy}, 0.2)`;
			c.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), height);
		}
		const items = t.items.reduce((a, b) => a + b, 0);
		this.canvas.setAttribute("aria-label", `${t.lanes.length} rows from ${duration(t.from_ms * 1e6)} to ${duration((t.from_ms + bins * t.width_ms) * 1e6)}: ${number(items)} items`);
	}

	// at returns the time in milliseconds at a place of the canvas.
	at(x) { return this.data.from_ms + (x - left) / this.perBin * this.data.width_ms; }

	// words says what happened at a place of the canvas.
	words(x, y) {
		const t = this.data;
		const lane = t.lanes[Math.floor(y / this.size())];
		const bin = Math.floor((x - left) / this.perBin);
		if (!lane || bin < 0 || bin >= lane.busy.length) return "";
		const at = this.at(x);
		const near = 2 / this.perBin * t.width_ms;
		const found = (t.spans ?? []).filter((s) => s.worker === lane.worker && s.thread === lane.thread && s.begun_ns / 1e6 - near <= at && (s.begun_ns + s.took_ns) / 1e6 + near >= at);
		const span = found.find((s) => s.kind) ?? found[0];
		const now = this.running.find((r) => r.worker === lane.worker && r.from <= at && at <= r.to);
		const lines = [`worker ${lane.worker}${lane.thread ? `, thread ${lane.thread + 1}` : ""}, ${duration((t.from_ms + bin * t.width_ms) * 1e6)} to ${duration((t.from_ms + (bin + 1) * t.width_ms) * 1e6)}`];
		if (span) {
			lines.push(`item ${number(span.place)}, ${duration(span.took_ns)}${span.attempts ? `, attempt ${span.attempts}` : ""}${span.item ? `: ${span.item}` : ""}`);
			if (span.kind) lines.push(`${span.kind}: ${span.message}`);
		}
		if (now) lines.push(`item ${number(now.item)} has been running for ${duration((now.to - now.from) * 1e6)}`);
		let failed = 0;
		for (let f = 0; f < (lane.failed?.length ?? 0); f += 2) if (lane.failed[f] === bin) failed = lane.failed[f + 1];
		lines.push(`${percent(shades.indexOf(lane.busy[bin]) / (shades.length - 1))} busy, ${number(lane.items[bin])} items done${failed ? `, ${number(failed)} failed` : ""}`);
		if (t.waits[bin]) lines.push(`the run waited for ${t.waits[bin]}`);
		return lines.join("\n");
	}

	listen() {
		const canvas = this.canvas, tip = $("tip");
		const place = (e) => {
			const box = canvas.getBoundingClientRect();
			return [e.clientX - box.left, e.clientY - box.top];
		};
		const hide = () => { tip.hidden = true; };
		canvas.addEventListener("pointermove", (e) => {
			if (!this.data) return;
			const [x, y] = place(e);
			if (this.drag) {
				this.drag.to = x;
				this.draw();
				return;
			}
			const words = this.words(x, y);
			tip.hidden = words === "";
			if (words === "") return;
			tip.textContent = words;
			tip.style.left = `${Math.min(e.clientX + 12, window.innerWidth - tip.offsetWidth - 8)}px`;
			tip.style.top = `${Math.min(e.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
		});
		canvas.addEventListener("pointerleave", hide);
		canvas.addEventListener("pointerdown", (e) => {
			if (e.button !== 0 || !this.data) return;
			const [x] = place(e);
			this.drag = {from: x, to: x};
			canvas.setPointerCapture(e.pointerId);
			hide();
		});
		canvas.addEventListener("pointerup", () => {
			const drag = this.drag;
			this.drag = null;
			if (!drag || !this.data) return;
			if (Math.abs(drag.to - drag.from) < 5) {
				this.draw();
				return;
			}
			const [from, to] = [this.at(Math.min(drag.from, drag.to)), this.at(Math.max(drag.from, drag.to))];
			this.zoom(Math.max(0, from), to);
		});
		canvas.addEventListener("dblclick", () => this.zoom(null, null));
		canvas.addEventListener("keydown", (e) => {
			const step = {"+": [0.25, -0.25], "=": [0.25, -0.25], "-": [-0.5, 0.5], ArrowLeft: [-0.25, -0.25], ArrowRight: [0.25, 0.25]}[e.key];
			if (e.key === "0") this.zoom(null, null);
			else if (step) this.move(...step);
			else return;
			e.preventDefault();
		});
		$("zoom-in").onclick = () => this.move(0.25, -0.25);
		$("zoom-out").onclick = () => this.move(-0.5, 0.5);
		$("zoom-all").onclick = () => this.zoom(null, null);
		new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
	}

	// move changes what is shown by shares of its length.
	move(from, to) {
		const t = this.data;
		if (!t) return;
		const length = t.items.length * t.width_ms;
		const most = t.end_ms + t.width_ms;
		let begin = Math.max(0, t.from_ms + from * length), end = Math.min(most, t.from_ms + length + to * length);
		if (from === to) { // a step to the left or to the right keeps the length
			[begin, end] = from < 0 ? [begin, begin + length] : [Math.max(0, end - length), end];
		}
		if (begin <= 0 && end >= t.end_ms) this.zoom(null, null);
		else if (end - begin >= 1) this.zoom(begin, end);
	}
}
