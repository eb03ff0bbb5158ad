// Charts over time, and histograms.

import uPlot from "./uplot/uplot.js";
import {bytes, duration, number, short} from "./format.js";

function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// Chart is a chart that follows the width of its element and the colours of the page.
class Chart {
	constructor(parent, options) {
		this.parent = parent;
		this.options = options;
		this.data = null;
		new ResizeObserver(() => this.plot?.setSize(this.extent())).observe(parent);
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.renew());
	}

	extent() { return {width: Math.max(160, this.parent.clientWidth), height: 150}; }

	renew() {
		this.plot?.destroy();
		this.plot = null;
		if (this.data) this.set(this.data);
	}

	set(data) {
		this.data = data;
		if (!this.plot) this.plot = new uPlot({...this.extent(), ...this.options()}, data, this.parent);
		else this.plot.setData(data);
	}
}

function axes(x, y, grid = true) {
	const common = () => ({stroke: color("--faint"), grid: {show: grid, stroke: color("--line"), width: 1}, ticks: {show: grid, stroke: color("--line")}});
	return [
		{...common(), values: (_, list) => list.map(x), space: 70},
		{...common(), values: (_, list) => list.map(y), size: 66},
	];
}

const seconds = (v) => v === null ? "" : duration(v * 1e9);

export function overTime(parent, lines, unit, hooks = {}) {
	return new Chart(parent, () => ({
		scales: {x: {time: false}, y: {range: (_, min, max) => [0, max > 0 ? max * 1.05 : 1]}},
		axes: axes(seconds, unit),
		cursor: {drag: {x: false, y: false}},
		series: [{label: "at", value: (_, v) => v === null ? "" : seconds(v)}, ...lines.map((l) => ({
			label: l.label, stroke: color(l.color), fill: l.fill ? color(l.color) + "33" : undefined, width: 1.5, dash: l.dash, spanGaps: true, points: {show: false},
			value: (_, v) => v === null || v === undefined ? "" : unit(v),
		}))],
		hooks,
	}));
}

// histogram shows bars over times that grow by powers.
export function histogram(parent) {
	return new Chart(parent, () => ({
		scales: {x: {time: false, distr: 3, log: 10}, y: {range: (_, min, max) => [0, Math.max(1, max * 1.05)]}},
		axes: axes((v) => v === null ? "" : duration(v), short, false),
		cursor: {drag: {x: false, y: false}},
		series: [{label: "time", value: (_, v) => v === null ? "" : duration(v)}, {
			label: "items", stroke: color("--accent"), fill: color("--accent") + "55", paths: uPlot.paths.stepped({align: 1}), points: {show: false},
			value: (_, v) => v === null || v === undefined ? "" : number(v),
		}],
	}));
}

// bars returns the data of a histogram: the beginning of each bar and its count, with empty bars between those that are not next to each other.
export function bars(list) {
	const x = [], y = [];
	for (const b of list ?? []) {
		const from = Math.max(1, b.from_ns);
		if (x.length && x[x.length - 1] < from) {
			x.push(from);
			y.push(b.count);
		} else if (x.length) {
			y[y.length - 1] = b.count;
		} else {
			x.push(from);
			y.push(b.count);
		}
		x.push(Math.max(from + 1, b.to_ns));
		y.push(0);
	}
	return [x, y];
}

// breakEven shows how long a run takes with items of different lengths, in sequence and on processes.
export function breakEven(parent, modes) {
	const [sequence, process] = [modes[0], modes[2] ?? modes[modes.length - 1]];
	const x = [], y1 = [], y2 = [];
	const n = Math.max(1, sequence.items);
	for (let e = -1; e <= 6; e += 0.1) { // microseconds
		const t = 10 ** e / 1e6;
		x.push(10 ** e * 1e3);
		y1.push(n * t);
		y2.push(process.start_s + n * (t + process.dispatch_us_per_item / 1e6) / Math.max(1, process.workers));
	}
	const chart = new Chart(parent, () => ({
		scales: {x: {time: false, distr: 3, log: 10}, y: {distr: 3, log: 10}},
		axes: axes((v) => v === null ? "" : duration(v), (v) => v === null ? "" : duration(v * 1e9), false),
		cursor: {drag: {x: false, y: false}},
		series: [{label: "time of an item", value: (_, v) => v === null ? "" : duration(v)}, ...[[sequence.label, "--faint"], [process.label, "--accent"]].map(([label, c]) => ({
			label, stroke: color(c), width: 2, points: {show: false}, value: (_, v) => v === null || v === undefined ? "" : duration(v * 1e9),
		}))],
	}));
	chart.set([x, y1, y2]);
	return chart;
}

export const units = {bytes, short, number};
