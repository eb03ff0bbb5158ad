// Where the data comes from: a server while the run goes on, or the page itself if it is a report.

export class Live {
	token = "";
	constructor(show, lost) {
		this.show = show;
		this.lost = lost;
		if (location.hash.length > 1) {
			sessionStorage.setItem("token", location.hash.slice(1));
			history.replaceState(null, "", location.pathname); // so that the address can be shown to others
		}
		this.token = sessionStorage.getItem("token") ?? "";
		this.run = null;
		if (this.token === "") {
			queueMicrotask(() => lost("Open this page by the whole address that parhost printed: what follows its # is the key to it."));
			return;
		}
		this.listen();
	}

	listen() {
		this.stream?.close();
		const query = new URLSearchParams({token: this.token});
		if (this.run !== null) query.set("run", this.run);
		this.stream = new EventSource(`events?${query}`);
		this.stream.onmessage = (e) => {
			const told = JSON.parse(e.data);
			if (told.view) this.show(told);
		};
		this.stream.onerror = () => this.lost("");
	}

	choose(run) {
		this.run = run;
		this.listen();
	}

	async get(path, parameters) {
		const query = new URLSearchParams(parameters);
		if (this.run !== null) query.set("run", this.run);
		const answer = await fetch(`${path}?${query}`, {headers: {Authorization: `Bearer ${this.token}`}});
		if (!answer.ok) throw new Error(await answer.text());
		return answer.json();
	}

	timeline(from, to, bins) {
		const range = to === null ? {} : {from: Math.floor(from), to: Math.ceil(to)};
		return this.get("timeline", {...range, bins});
	}

	failed() { return this.get("failed", {}); }

	logs(since) { return this.get("logs", {since}); }

	get hasKeys() { return this.token !== ""; }

	async press(key, parameters) {
		const answer = await fetch(`keys/${key}?${new URLSearchParams(parameters)}`, {method: "POST", headers: {Authorization: `Bearer ${this.token}`}});
		const text = await answer.text();
		if (!answer.ok) throw new Error(text.trim());
		return text;
	}
}

class Recorded {
	hasKeys = false;
	constructor(data, show) {
		this.data = data;
		this.show = show;
		this.choose(data.runs.length - 1);
	}

	choose(run) {
		this.run = run;
		this.recorded = this.data.runs[run];
		queueMicrotask(() => this.show({runs: this.data.runs.map((r) => r.view.label), run, view: this.recorded.view, lines: this.data.logs.length, keys: []}));
	}

	// timeline returns a part of the recorded one: its bins, as they are.
	async timeline(from, to) {
		const t = this.recorded.timeline;
		if (to === null || t.width_ms === 0) return t;
		const first = Math.max(0, Math.floor((from - t.from_ms) / t.width_ms));
		const last = Math.min(t.items.length, Math.ceil((to - t.from_ms) / t.width_ms));
		const part = {...t, from_ms: t.from_ms + first * t.width_ms};
		for (const list of ["items", "failed", "rss", "most", "cpu", "queued", "held", "waits"]) part[list] = t[list].slice(first, last);
		part.lanes = t.lanes.map((l) => {
			const failed = [];
			for (let i = 0; i < (l.failed?.length ?? 0); i += 2) {
				if (l.failed[i] >= first && l.failed[i] < last) failed.push(l.failed[i] - first, l.failed[i + 1]);
			}
			return {...l, busy: l.busy.slice(first, last), items: l.items.slice(first, last), failed};
		});
		return part;
	}

	async failed() { return this.recorded.failed ?? []; }

	async logs(since) { return this.data.logs.slice(since); }
}

export function open(show, lost) {
	const data = document.getElementById("data");
	return data ? new Recorded(JSON.parse(data.textContent), show) : new Live(show, lost);
}
