// Texts for people: times, sizes and numbers.

export function duration(ns) {
	const s = ns / 1e9;
	if (s <= 0) return "0";
	if (s < 1e-6) return `${Math.round(ns)} ns`;
	if (s < 1e-3) return `${short(s * 1e6)} µs`;
	if (s < 1) return `${short(s * 1e3)} ms`;
	if (s < 60) return `${short(s)} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
	return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

export function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
	return `${short(n)} ${units[unit]}`;
}

// number groups the digits of a whole number.
export function number(n) {
	return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

// short returns a number with three digits.
export function short(n) {
	for (const [size, name] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
		if (n >= size) return `${Number((n / (name === "k" ? 1e3 : size)).toPrecision(3))}${name}`;
	}
	return String(Number(n.toPrecision(3)));
}

export function percent(share) {
	return `${(100 * share).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`;
}
