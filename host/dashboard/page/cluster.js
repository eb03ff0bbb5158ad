// The page of a cluster: it shows what the server tells, once every second.

import {$, setText, table} from "./dom.js";
import {bytes, duration, number, short} from "./format.js";
import {Live} from "./source.js";

new Live((news) => show(news.view), (why) => note(why || "The server does not answer. It may have ended."));

function note(text) {
	$("note").hidden = text === "";
	setText($("note"), text);
}

function show(v) {
	const t = v.totals;
	note(v.problem ? `The cluster does not answer: ${v.problem}` : v.hidden ? `${number(v.hidden)} more rows are not shown.` : "");
	setText($("counts"), v.problem ? "" : [
		`${number(t.nodes)} ${t.nodes === 1 ? "node" : "nodes"}`, `${number(t.busy)} of ${number(t.slots)} slots busy`, `batches: ${number(t.waiting)} waiting, ${number(t.running)} running`,
		`${number(v.jobs_running)} of ${number(v.jobs_count)} jobs running`,
	].join(" · "));
	setText($("waiting"), v.problem ? "" : state(v));
	for (const part of ["jobs", "queues", "nodes"]) $(`${part}-block`).hidden = Boolean(v.problem);
	$("unfit-block").hidden = !v.unfit.length;
	const ago = (at) => at ? `${duration(Math.max(1e9, Math.round((new Date(v.now) - new Date(at)) / 1e3) * 1e9))}` : "";
	const rates = paces(v.jobs);
	table($("jobs"), ["job", "tenant", "state", "plugin", "pool", "#done", "#failed", "#items/s", "#age", "submitter"], v.jobs.map((j, i) => [
		j.id, j.tenant, j.state, j.plugin, j.pool, number(j.done), number(j.failed), j.state === "running" ? short(rates[i]) : "", ago(j.created), j.submitter,
	]));
	table($("queues"), ["pool", "#batches waiting", "#running", "#nodes", "#slots", "#busy"], v.queues.map((q) => [q.pool, number(q.waiting), number(q.running), number(q.nodes), number(q.slots), number(q.busy)]));
	table($("nodes"), ["node", "pool", "#slots", "#busy", "#items", "platform", "parhost", "#up", "state"], v.nodes.map((n) => [
		n.name, n.pool, number(n.slots), number(n.busy), number(n.items), n.platform, n.version, ago(n.since), n.leaving ? "leaving" : n.busy > 0 ? "busy" : "idle",
	]));
	table($("unfit"), ["node", "job", "kind", "message"], v.unfit.map((u) => [u.node, u.job, u.kind, u.message]));
	table($("servers"), ["server", "state", "address", "nats-server", "#up", "#connections", "#stored messages", "#stored"], v.servers.map((s) => [
		s.name, s.state, s.url, s.version, ago(s.since), ...(s.since ? [number(s.clients), number(s.messages), bytes(s.bytes)] : ["", "", ""]),
	]));
}

// state says in a sentence what holds the cluster up.
function state(v) {
	const t = v.totals;
	if (t.nodes === 0) return t.waiting + v.jobs_running > 0 ? "No node is there to run what waits." : "No node is there.";
	if (t.waiting > 0 && t.busy >= t.slots) return "All slots are busy.";
	const alone = v.queues.find((q) => q.waiting > 0 && q.nodes === 0);
	if (alone) return `No node has the pool ${alone.pool}.`;
	return t.running + t.waiting > 0 ? "Items run." : "Nothing is to be done.";
}

let known = new Map();

// paces returns the items a second of jobs. A submitter writes every other second how far it is, so its own times count.
function paces(jobs) {
	const before = known;
	known = new Map();
	return jobs.map((j) => {
		const key = `${j.tenant}/${j.id}/${j.created}`, seen = new Date(j.seen) / 1e3;
		let last = before.get(key);
		if (!last) {
			const spent = seen - new Date(j.created) / 1e3;
			last = {done: j.done, seen, rate: spent > 0 ? j.done / spent : 0};
		} else if (seen > last.seen) {
			const fresh = Math.max(0, j.done - last.done) / (seen - last.seen);
			const keep = Math.exp(-(seen - last.seen) / 5);
			last = {done: j.done, seen, rate: keep * last.rate + (1 - keep) * fresh};
		}
		known.set(key, last);
		return last.rate;
	});
}
